/**
 * `platter-img`: the library for Node. Everything of `platter-img/core`, and what needs an operating
 * system.
 *
 * @module
 */

export * from "./core.ts";
