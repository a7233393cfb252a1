// How this program is started again by something that has no PATH: the Node that runs it and its entry, both absolute.
import process from "node:process";
import { fileURLToPath } from "node:url";

export function ownCommand(): readonly string[] {
  const compiled = import.meta.url.endsWith(".js");
  return [
    process.execPath,
    fileURLToPath(new URL(compiled ? "../../cli/isthmus.js" : "./isthmus.js", import.meta.url)),
  ];
}
