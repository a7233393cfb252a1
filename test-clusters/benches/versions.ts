// The versions of what is measured: a figure is compared with one of the same parts only.
import { readFileSync } from "node:fs";
import process from "node:process";
import { ENVOY } from "../../shared/programs/envoy-wheel.ts";
import { KUBERNETES } from "../binaries/versions.ts";
import { findProgram, runCommand } from "../machine/command.ts";

export async function benchVersions(): Promise<Readonly<Record<string, string>>> {
  const own = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as { version: string };
  return {
    isthmus: own.version,
    commit: await firstMatch("git", ["rev-parse", "--short", "HEAD"], /^\w+/),
    node: process.versions.node,
    kubernetes: KUBERNETES,
    envoy: ENVOY,
    redis: await firstMatch("redis-server", ["--version"], /(?<=v=)[\d.]+/),
    containerd: await firstMatch("containerd", ["--version"], /\d+\.\d+\.\d+/),
  };
}

async function firstMatch(program: string, args: readonly string[], pattern: RegExp): Promise<string> {
  const path = await findProgram(program);
  const text = path === undefined ? "" : await runCommand(path, args, { cwd: import.meta.dirname }).catch(() => "");
  return pattern.exec(text)?.[0] ?? "unknown";
}
