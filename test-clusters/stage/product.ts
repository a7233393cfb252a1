// The `isthmus` command as a user of a checkout runs it. Everything the demo and the scenarios do to the product goes
// through here, so that they prove what a user would get.
import process from "node:process";
import { fileURLToPath } from "node:url";
import { CommandError, runCommand } from "../machine/command.ts";

export const isthmusProgram = fileURLToPath(new URL("../../cli/isthmus.js", import.meta.url));

export interface Product {
  /** Standard output of `isthmus ARGS`; throws a CommandError that carries standard error. */
  isthmus(args: readonly string[], timeoutMs?: number): Promise<string>;
  /** The same, for commands that must fail: their standard error. */
  refusal(args: readonly string[]): Promise<string>;
}

export function productIn(env: NodeJS.ProcessEnv): Product {
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
