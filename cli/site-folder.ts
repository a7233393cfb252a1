// Where `isthmus site` and `isthmus run` find a site's data folder.
import { Option } from "commander";
import { resolve } from "node:path";

const defaultSiteDir = "isthmus-site";

export function siteDataOption(): Option {
  return new Option("--data <dir>", "data folder of the site").env("ISTHMUS_SITE_DATA").default(defaultSiteDir);
}

/** As the next command must name it: nothing when it is the default. */
export function siteDataFlag(data: string): string {
  return resolve(data) === resolve(defaultSiteDir) ? "" : ` --data ${data}`;
}
