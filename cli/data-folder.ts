// Where the commands on the hub's machine find its data folder.
import { Option } from "commander";
import { resolve } from "node:path";

export const defaultDataDir = "isthmus-data";

export interface DataOption {
  readonly data: string;
}

export function dataOption(): Option {
  return new Option("--data <dir>", "data folder of the hub").env("ISTHMUS_DATA").default(defaultDataDir);
}

/** As the next command must name it: nothing when it is the default. */
export function dataFlag(data: string): string {
  return resolve(data) === resolve(defaultDataDir) ? "" : ` --data ${data}`;
}
