// `isthmus version`: of this program and of the Node that runs it.
import { Command } from "commander";
import { openOutput, type Format, type Streams } from "../output.ts";
import { ownVersion } from "../version.ts";

export function versionCommand(streams: Streams): Command {
  return new Command("version")
    .description("print the version of this program")
    .action(({ output }: { readonly output: Format }) => {
      const version = ownVersion();
      const out = openOutput(output, streams);
      out.result({ version, node: process.versions.node }, `isthmus ${version} (Node ${process.versions.node})`);
      out.next("isthmus help");
    });
}
