// Names an image by what it is made of: equal inputs give the same tag, and a build whose archive is there is skipped.
// Only this checkout is read, in a few milliseconds; no compiler runs and no network is asked.
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { entryFiles, shippedFiles } from "../../shared/tooling/pack.ts";
import type { Architecture } from "./architecture.ts";

export type ImageTarget = "isthmus" | "envoy" | "init";

export const imageTargets: readonly ImageTarget[] = ["isthmus", "envoy", "init"];

export interface ContentKeys {
  /** Of each image. */
  readonly images: Readonly<Record<ImageTarget, string>>;
  /** Of the Dockerfile stage below the image: for isthmus all but its sources, else the image itself. */
  readonly stages: Readonly<Record<ImageTarget, string>>;
}

/** What decides the content of the layers below the sources. How they are built and stored is not part of it. */
const recipe = [
  "deploy/Dockerfile",
  "deploy/images/context.ts",
  "deploy/images/debian.ts",
  "deploy/images/node-modules.ts",
  "shared/programs/envoy-wheel.ts",
];

/** 12 hexadecimal digits each. */
export async function contentKeys(root: string, architecture: Architecture): Promise<ContentKeys> {
  const common = digest([await digestOf(root, recipe), architecture]);
  const runtime = digest([common, await digestOf(root, ["package-lock.json"])]);
  const shipped = [...(await shippedFiles(root)), ...(await entryFiles(root))];
  const sources = await digestOf(root, ["shared/tooling/pack.ts", "deploy/images/bundle.ts", ...shipped]);
  return {
    images: { isthmus: digest([runtime, sources]), envoy: common, init: common },
    stages: { isthmus: runtime, envoy: common, init: common },
  };
}

async function digestOf(root: string, paths: readonly string[]): Promise<string> {
  const contents = await Promise.all(paths.map((path) => readFile(join(root, path))));
  return digest(
    paths.flatMap((path, at) => [
      path,
      createHash("sha256")
        .update(contents[at] ?? "")
        .digest("hex"),
    ]),
  );
}

function digest(parts: readonly string[]): string {
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, 12);
}
