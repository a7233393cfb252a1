// The two machine types that images are made for, and what each ecosystem calls them.
import process from "node:process";
import { UserError } from "../../shared/errors.ts";

/** As Docker's TARGETARCH and Debian spell it. */
export type Architecture = "amd64" | "arm64";

export const architectures: readonly Architecture[] = ["amd64", "arm64"];

/** As npm's `node-linux-*` packages spell it. */
export const npmArchitecture: Readonly<Record<Architecture, string>> = { amd64: "x64", arm64: "arm64" };

export function hostArchitecture(): Architecture {
  if (process.arch === "x64") return "amd64";
  if (process.arch === "arm64") return "arm64";
  throw new UserError("ISTHMUS_ARCHITECTURE", `no images for ${process.arch}: Isthmus is built for amd64 and arm64`);
}
