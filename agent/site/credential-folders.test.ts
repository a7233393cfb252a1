// Credential folders with real files: what a sidecar reads, who else may, and when a token is written anew.
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Clock } from "../../shared/clock.ts";
import { readCredentialFolder, workloadFolder, type CredentialFacts } from "./credential-folder.ts";
import { removeOtherCredentials, writeCredential, type Credential, type CredentialDeps } from "./credential-folders.ts";
import { verifyToken } from "./workload-token.ts";

const hourMs = 3_600_000;
const key = Buffer.alloc(32, 7);
let dataDir: string;
let nowMs: number;
let rootsPem: string;
let deps: CredentialDeps;
const clock: Clock = { now: () => nowMs, sleep: () => Promise.reject(new Error("nothing here waits")) };

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "isthmus-credentials-"));
  nowMs = 1_000 * hourMs;
  rootsPem = "first root\n";
  deps = { dataDir, key, clock, rootsPem: () => rootsPem };
});

afterEach(() => rm(dataDir, { recursive: true, force: true }));

function credential(name: string, serviceAccount = name): Credential {
  const facts: CredentialFacts = {
    ...{ cluster: "east", fleetDomain: "acme.mesh", namespace: "shop", name, serviceAccount },
    ...{ agent: { host: "127.0.0.1", port: 15128 }, locality: { region: "", zone: "" } },
  };
  return { folder: workloadFolder(dataDir, facts), facts, user: "" };
}

const modeOf = async (path: string) => (await stat(path)).mode & 0o777;
const tokenOf = ({ folder }: Credential) => readFile(join(folder, "token"), "utf8");

describe("a credential folder", () => {
  const cart = () => credential("cart");

  it("is whole, for its owner alone, and read back as it was written", async () => {
    await writeCredential(cart(), deps);
    const { folder, facts } = cart();
    expect(await readCredentialFolder(folder)).toEqual(facts);
    expect((await readdir(folder)).sort()).toEqual(["roots.pem", "token", "workload.json"]);
    expect([await modeOf(folder), await modeOf(join(folder, "token"))]).toEqual([0o700, 0o600]);
    expect(verifyToken(key, await tokenOf(cart()), nowMs)).toMatchObject({
      value: { name: "cart", serviceAccount: "cart" },
    });
  });

  it("gets a new token at half of the old one's life, which is good to its end", async () => {
    await writeCredential(cart(), deps);
    const first = await tokenOf(cart());
    nowMs += 11 * hourMs;
    await writeCredential(cart(), deps);
    expect(await tokenOf(cart())).toBe(first);
    nowMs += 2 * hourMs;
    await writeCredential(cart(), deps);
    expect(await tokenOf(cart())).not.toBe(first);
    expect(verifyToken(key, first, nowMs).ok).toBe(true);
  });

  it("is not touched when everything in it is right", async () => {
    await writeCredential(cart(), deps);
    const before = await stat(cart().folder);
    await writeCredential(cart(), deps);
    expect((await stat(cart().folder)).mtimeMs).toBe(before.mtimeMs);
  });

  it("gets a new token with another account, and new roots with a new bundle", async () => {
    await writeCredential(cart(), deps);
    rootsPem = "second root\n";
    await writeCredential(credential("cart", "basket"), deps);
    expect(verifyToken(key, await tokenOf(cart()), nowMs)).toMatchObject({ value: { serviceAccount: "basket" } });
    expect(await readFile(join(cart().folder, "roots.pem"), "utf8")).toBe("second root\n");
  });

  it("goes with its workload, and no other", async () => {
    for (const name of ["cart", "stock"]) await writeCredential(credential(name), deps);
    await removeOtherCredentials([credential("stock")], dataDir);
    expect(await readdir(join(dataDir, "workloads", "shop"))).toEqual(["stock"]);
    await removeOtherCredentials([], dataDir);
    expect(await readdir(join(dataDir, "workloads"))).toEqual([]);
  });

  it("is taken back from whoever opened it to others", async () => {
    await writeCredential(cart(), deps);
    await chmod(cart().folder, 0o755);
    await writeCredential(cart(), deps);
    expect(await modeOf(cart().folder)).toBe(0o700);
  });
});

describe("a reader of a credential folder", () => {
  it.each([0o640, 0o604, 0o660])("refuses a token of mode %o, and says what it means", async (mode) => {
    const { folder } = credential("cart");
    await writeCredential(credential("cart"), deps);
    await chmod(join(folder, "token"), mode);
    await expect(readCredentialFolder(folder)).rejects.toMatchObject({ code: "ISTHMUS_CREDENTIAL_MODE" });
  });

  it("waits for a folder that is not there yet, and refuses one that is damaged", async () => {
    expect(await readCredentialFolder(join(dataDir, "nobody"))).toBeUndefined();
    const damaged = join(dataDir, "damaged");
    await mkdir(damaged);
    await writeFile(join(damaged, "token"), "x", { mode: 0o600 });
    expect(await readCredentialFolder(damaged)).toBeUndefined();
    await writeFile(join(damaged, "workload.json"), "{");
    await expect(readCredentialFolder(damaged)).rejects.toMatchObject({ code: "ISTHMUS_CREDENTIAL" });
  });
});
