// The kinds of machine that programs are published for, in the words of Go and the OCI.
import process from "node:process";
import { UserError } from "../errors.ts";

export type Platform = `${"linux" | "darwin"}-${"amd64" | "arm64"}`;

/** This machine's. */
export function ownPlatform(os: string = process.platform, arch: string = process.arch): Platform {
  const goArch = arch === "x64" ? "amd64" : arch;
  if ((os === "linux" || os === "darwin") && (goArch === "amd64" || goArch === "arm64")) return `${os}-${goArch}`;
  throw new UserError("ISTHMUS_PLATFORM", `there are no programs for ${os} on ${arch}`, {
    hint: "Isthmus runs on Linux and macOS, on x64 and arm64",
  });
}

/** The end of a cache entry's name: Linux has none of its own, as it was there first. */
export function cacheSuffix(platform: Platform): string {
  return platform.replace("linux-", "");
}
