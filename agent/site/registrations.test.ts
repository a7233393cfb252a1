import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { afterEach, beforeEach, expect, it } from "vitest";
import { jsonLog } from "../../shared/log.ts";
import { pidAnnotation } from "./credential-folder.ts";
import { readManifestFile } from "./manifest-file.ts";
import { pidOfRegistration, readRegistration, removeRegistration } from "./registration-file.ts";
import { removeDead } from "./registrations.ts";

/** Above the highest that Linux gives (4,194,304). */
const deadPid = 4_194_305;
const file = "shop.cart.yaml";
let folder = "";
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "isthmus-registered-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

function registration(pid: number): string {
  const metadata = { namespace: "shop", name: "cart", annotations: { [pidAnnotation]: String(pid) } };
  const spec = { serviceAccount: "cart" };
  return JSON.stringify({ apiVersion: "isthmus.dev/v1alpha1", kind: "Workload", metadata, spec });
}

const write = (pid: number) => writeFile(join(folder, file), registration(pid));
const asRead = (pid: number) => [readManifestFile(`registered/${file}`, registration(pid), undefined)];
const quiet = jsonLog("error", () => undefined);

it("the registration of a killed process is removed", async () => {
  await write(deadPid);
  await removeDead(folder, asRead(deadPid), quiet);
  expect(await readdir(folder)).toEqual([]);
});

it("one that has come into its place since it was read stays", async () => {
  await write(process.pid);
  await removeDead(folder, asRead(deadPid), quiet);
  expect(await readdir(folder)).toEqual([file]);
  expect(pidOfRegistration((await readRegistration(join(folder, file))) ?? "")).toBe(process.pid);
});

it("one that comes between the look and the removal is put back", async () => {
  await write(deadPid);
  let looks = 0;
  const onlyAtFirst = () => (looks += 1) === 1;
  expect(await removeRegistration(join(folder, file), onlyAtFirst)).toBe(false);
  expect(looks).toBe(2);
  expect(await readdir(folder)).toEqual([file]);
});
