// Files of the Python package index, without Python. The index is the one that pip is configured to use on this machine;
// the file's hash is pinned by the caller, so any mirror will do.
import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { download, request, type DownloadContext, type Hash } from "./download.ts";

const PUBLIC_INDEX = "https://pypi.org/simple";

/** A file of a project of the index. */
export interface IndexFile {
  readonly project: string;
  readonly file: string;
  readonly hash: Hash;
}

export interface FetchContext extends DownloadContext {
  /** Instead of the configured one. */
  readonly index?: string | undefined;
}

/** `index-url` of a pip.conf; pip's other settings do not matter for one pinned file. */
export function indexOfPipConf(text: string): string | undefined {
  return /^\s*index-url\s*=\s*(\S+)/m.exec(text)?.[1];
}

/** Address of the index, in pip's own order: environment, the user's files, the machine's. */
export async function packageIndex(env: NodeJS.ProcessEnv = process.env): Promise<string> {
  const fromEnv = env["PIP_INDEX_URL"];
  if (fromEnv !== undefined && fromEnv !== "") return fromEnv;
  const files = [
    env["PIP_CONFIG_FILE"],
    join(homedir(), "Library/Application Support/pip/pip.conf"),
    join(homedir(), ".config/pip/pip.conf"),
    join(homedir(), ".pip/pip.conf"),
    "/etc/pip.conf",
  ];
  for (const file of files) {
    if (file === undefined) continue;
    const index = indexOfPipConf(await readFile(file, "utf8").catch(() => ""));
    if (index !== undefined) return index;
  }
  return PUBLIC_INDEX;
}

/** Address of a file in a project page: PEP 691 JSON, or the older HTML that some mirrors still answer with. */
export function fileAddress(page: string, contentType: string, pageUrl: string, file: string): string | undefined {
  if (contentType.includes("json")) {
    const { files } = JSON.parse(page) as { files: readonly { filename: string; url: string }[] };
    const found = files.find((each) => each.filename === file);
    return found && new URL(found.url, pageUrl).href;
  }
  for (const [, href = "", name = ""] of page.matchAll(/<a[^>]*href="([^"]+)"[^>]*>([^<]+)<\/a>/g)) {
    if (name.trim() === file) return new URL(href.replaceAll("&amp;", "&"), pageUrl).href;
  }
  return undefined;
}

/** Fetches the file to `path`. Throws with the address and the reason. */
export async function fetchIndexFile(wanted: IndexFile, path: string, context: FetchContext): Promise<void> {
  const index = withoutUser(context.index ?? (await packageIndex()));
  const pageUrl = `${index.url.replace(/\/$/, "")}/${wanted.project}/`;
  const accept = "application/vnd.pypi.simple.v1+json, text/html;q=0.5";
  const page = await request(pageUrl, { accept, ...index.headers });
  const url = fileAddress(await page.text(), page.headers.get("content-type") ?? "", pageUrl, wanted.file);
  if (url === undefined) throw new Error(`${pageUrl} does not list ${wanted.file}`);
  const sameHost = new URL(url).host === new URL(pageUrl).host;
  await download(url, path, wanted.hash, { ...context, headers: sameHost ? index.headers : {} });
}

/** fetch() refuses an address that holds a password, and messages must not show it. */
function withoutUser(index: string): { readonly url: string; readonly headers: Readonly<Record<string, string>> } {
  const url = new URL(index);
  if (url.username === "") return { url: url.href, headers: {} };
  const user = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
  url.username = "";
  url.password = "";
  return { url: url.href, headers: { authorization: `Basic ${Buffer.from(user).toString("base64")}` } };
}
