// Where `isthmus site` and `isthmus run` find a site's data folder.
import { Option } from "commander";

const defaultSiteDir = "isthmus-site";

export function siteDataOption(): Option {
  return new Option("--data <dir>", "data folder of the site").env("ISTHMUS_SITE_DATA").default(defaultSiteDir);
}
