/** What kinds of images there are: every property that the mapping and the writers depend on. */
import { possible, type ModelSetup } from "../../src/formats/model-setups.test-kit.ts";

/** A setup, and whether the sequence makes and applies snapshots. */
export interface Combination {
  readonly setup: ModelSetup;
  readonly snapshots: boolean;
}

const dimensions = {
  version: [3, 2],
  clusterSize: [65_536, 512, 16_384, 2 * 1024 * 1024],
  extendedL2: [false, true],
  refcountBits: [16, 1, 64],
  compression: [undefined, "zlib", "zstd"],
  dataFile: [undefined, "plain", "raw"],
  encryption: [undefined, "luks", "aes"],
  backing: [
    undefined,
    { format: "qcow2", percent: 100 },
    { format: "raw", percent: 30 },
    { format: "qcow2", percent: 170 },
  ],
  bitmaps: [[], [512]],
  snapshots: [false, true],
} as const;

type Name = keyof typeof dimensions;
type Point = Readonly<Record<Name, number>>;

const names = Object.keys(dimensions) as Name[];

function combinationOf(point: Point): Combination {
  const value = <N extends Name>(name: N): (typeof dimensions)[N][number] =>
    dimensions[name][point[name]]!;
  const setup = possible({
    format: "qcow2",
    version: value("version"),
    clusterSize: value("clusterSize"),
    extendedL2: value("extendedL2"),
    refcountBits: value("refcountBits"),
    compression: value("compression"),
    dataFile: value("dataFile"),
    encryption: value("encryption"),
    backing: value("backing"),
    bitmaps: value("bitmaps"),
    preallocation: "off",
    sectors: 700,
    cacheSize: undefined,
    jitter: 1,
  });
  return { setup, snapshots: value("snapshots") };
}

/** Whether images can be like that: otherwise the nearest possible setup is another point. */
function isPossible(point: Point): boolean {
  const { setup } = combinationOf(point);
  return names.every(
    (name) => name === "snapshots" || setup[name] === dimensions[name][point[name]],
  );
}

/** All points, whether possible or not. */
function* points(): Generator<Point> {
  const counts = names.map((name) => dimensions[name].length);
  const total = counts.reduce((product, count) => product * count, 1);
  for (let i = 0; i < total; i++) {
    let rest = i;
    const point: Partial<Record<Name, number>> = {};
    for (const [j, name] of names.entries()) {
      point[name] = rest % counts[j]!;
      rest = Math.floor(rest / counts[j]!);
    }
    yield point as Point;
  }
}

/** Every combination of all properties that images can have. */
export function* fullProduct(): Generator<Combination> {
  for (const point of points()) if (isPossible(point)) yield combinationOf(point);
}

const pairsOf = (point: Point): string[] =>
  names.flatMap((one, i) =>
    names.slice(i + 1).map((other) => `${one} ${point[one]} ${other} ${point[other]}`),
  );

/** So many combinations that every two properties that go together are in one of them. */
export function everyPair(): Combination[] {
  const possiblePoints = [...points()].filter(isPossible).map((point) => ({
    point,
    pairs: pairsOf(point),
  }));
  const missing = new Set(possiblePoints.flatMap(({ pairs }) => pairs));
  const chosen: Combination[] = [];
  while (missing.size > 0) {
    let best = possiblePoints[0]!;
    let most = 0;
    for (const candidate of possiblePoints) {
      let count = 0;
      for (const pair of candidate.pairs) if (missing.has(pair)) count++;
      if (count > most) [best, most] = [candidate, count];
    }
    for (const pair of best.pairs) missing.delete(pair);
    chosen.push(combinationOf(best.point));
  }
  return chosen;
}
