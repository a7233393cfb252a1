// The version of this program, from the package.json that it came with (dist/ carries a copy).
import { readFileSync } from "node:fs";

export function ownVersion(): string {
  const text = readFileSync(new URL("../package.json", import.meta.url), "utf8");
  return (JSON.parse(text) as { readonly version: string }).version;
}
