// Which Envoy is taken. The programs are scripts that say a version; the package index is an address where nobody listens.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { UserError } from "../errors.ts";
import { silentProgress } from "../progress.ts";
import { ENVOY } from "./envoy-wheel.ts";
import { envoyPath, findEnvoy } from "./envoy.ts";
import { bundledRedis, demoRedis } from "./redis.ts";

let dir = "";
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "isthmus-programs-"));
  vi.stubEnv("XDG_CACHE_HOME", join(dir, "cache"));
  vi.stubEnv("PIP_INDEX_URL", "http://127.0.0.1:1/simple");
  vi.stubEnv("PATH", `${dir}${delimiter}/usr/bin${delimiter}/bin`);
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(dir, { recursive: true, force: true });
});

function program(path: string, says: string): string {
  writeFileSync(path, `#!/bin/sh\necho '${says}'\n`, { mode: 0o755 });
  return path;
}
const envoySaying = (path: string, version: string) =>
  program(path, `${path}  version: 0abc/${version}/Clean/RELEASE/BoringSSL`);

const find = (given?: string) => findEnvoy({ given, progress: silentProgress });
const code = (work: Promise<unknown>) => work.then(String, (error: unknown) => (error as UserError).code);

function fillCache(): void {
  mkdirSync(join(envoyPath(), ".."), { recursive: true });
  envoySaying(envoyPath(), ENVOY);
}

describe("the Envoy that is started", () => {
  it("is the one on PATH when it is of the tested line of releases", async () => {
    fillCache();
    const patched = ENVOY.replace(/\d+$/, "99");
    const path = envoySaying(join(dir, "envoy"), patched);
    expect(await find()).toEqual({ path, version: patched, source: "PATH" });
  });

  it.each([
    { name: "is of an older line", says: "/1.29.0/" },
    { name: "is of a newer line", says: "/1.99.0/" },
    { name: "is something else", says: "hello" },
  ])("is the cached one when the one on PATH $name", async ({ says }) => {
    fillCache();
    program(join(dir, "envoy"), `version: 0abc${says}`);
    expect(await find()).toEqual({ path: envoyPath(), version: ENVOY, source: "cache" });
  });

  it("is the given one, whatever its version", async () => {
    const path = envoySaying(join(dir, "mine"), "1.99.0");
    expect(await find(path)).toEqual({ path, version: "1.99.0", source: "given" });
    expect(await code(find(join(dir, "nothing")))).toBe("ISTHMUS_ENVOY_MISSING");
  });

  it("is missing, with what to do, where neither PATH nor cache nor index has one", async () => {
    const error = (await find().catch((cause: unknown) => cause)) as UserError;
    expect(error.code).toBe("ISTHMUS_ENVOY_MISSING");
    expect((error.cause as Error).message).toContain("127.0.0.1:1");
    expect(error.hint).toContain("PIP_INDEX_URL");
  });
});

describe("the Redis of a demo", () => {
  const redisSaying = (version: string) => program(join(dir, "redis-server"), `Redis server v=${version} sha=0`);

  it.each(["6.2.0", "7.0.15", "8.1.0"])("is the one on PATH when it is %s", async (version) => {
    redisSaying(version);
    const path = join(dir, "redis-server");
    expect(await demoRedis(silentProgress)).toEqual({ path, version, source: "PATH" });
  });

  it("is fetched when the one on PATH is too old, and missing where no index answers", async () => {
    redisSaying("5.0.7");
    expect(await code(demoRedis(silentProgress))).toBe("ISTHMUS_REDIS_MISSING");
  });

  it("is missing where nobody publishes one", async () => {
    expect(await code(bundledRedis(silentProgress, "linux-arm64"))).toBe("ISTHMUS_REDIS_MISSING");
  });
});
