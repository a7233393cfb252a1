// The `isthmus` command as a user of a checkout runs it, with the tools it needs on PATH. Everything the demo and the
// scenarios do to the product goes through here, so that they prove what a user would get.
import { dirname } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { ensureHelm } from "../binaries/go-programs.ts";
import type { Fleet } from "../fleet.ts";
import { CommandError, runCommand } from "../machine/command.ts";
import type { Progress } from "../../shared/progress.ts";

export const isthmusProgram = fileURLToPath(new URL("../../cli/isthmus.js", import.meta.url));

export interface Product {
  /** Standard output of `isthmus ARGS`; throws a CommandError that carries standard error. */
  isthmus(args: readonly string[], timeoutMs?: number): Promise<string>;
  /** The same, for commands that must fail: their standard error. */
  refusal(args: readonly string[]): Promise<string>;
}

export async function openProduct(fleet: Fleet, progress: Progress): Promise<Product> {
  const helm = await ensureHelm(progress);
  const folders = [dirname(process.execPath), dirname(helm), dirname(fleet.kubectlProgram)];
  const env = {
    ...process.env,
    PATH: `${folders.join(":")}:${process.env["PATH"] ?? ""}`,
    KUBECONFIG: fleet.kubeconfigPath,
  };
  const isthmus = (args: readonly string[], timeoutMs = 120_000) =>
    runCommand(process.execPath, [isthmusProgram, ...args], { env, timeoutMs });
  return {
    isthmus,
    refusal: async (args) => {
      try {
        await isthmus(args);
      } catch (error) {
        if (error instanceof CommandError) return error.stderr.trim();
        throw error;
      }
      throw new Error(`isthmus ${args.join(" ")} succeeded and should have been refused`);
    },
  };
}
