import { expect, it } from "vitest";
import { errorsPage } from "./errors-page.ts";

it("lists every code with its meaning, in the table's order", () => {
  const page = errorsPage({ E_ONE: "The first.", E_TWO: "The second." });
  expect(page).toContain("## E_ONE\n\nThe first.\n\n## E_TWO\n\nThe second.\n");
});
