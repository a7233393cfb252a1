import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { silentProgress } from "../progress.ts";
import { download } from "./download.ts";

let dir = "";
let server: Server;
let base = "";
const content = "the released file";
const hex = createHash("sha256").update(content).digest("hex");

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), "isthmus-download-"));
  server = createServer((request, response) => {
    if (request.url === "/there") response.end(content);
    else if (request.url === "/cut")
      response.writeHead(200, { "content-length": 100 }).write(content.slice(0, 3), () => response.destroy());
    else response.writeHead(404).end();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterEach(() => {
  server.closeAllConnections();
  server.close();
  rmSync(dir, { recursive: true, force: true });
});

const fetchInto = (path: string, hash: string) =>
  download(`${base}${path}`, join(dir, "file"), { algorithm: "sha256", hex: hash }, { progress: silentProgress });

describe("a download", () => {
  it("is kept when its hash is the pinned one", async () => {
    await fetchInto("/there", hex);
    expect(readFileSync(join(dir, "file"), "utf8")).toBe(content);
  });

  it.each([
    { name: "with another hash", path: "/there", hash: "00".repeat(32), says: "expected 0000" },
    { name: "that is cut short", path: "/cut", hash: hex, says: /./ },
    { name: "that is not there", path: "/nowhere", hash: hex, says: "status 404" },
  ])("$name leaves no file", async ({ path, hash, says }) => {
    await expect(fetchInto(path, hash)).rejects.toThrow(says);
    expect(readdirSync(dir)).toEqual([]);
  });
});
