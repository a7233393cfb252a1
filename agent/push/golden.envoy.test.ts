// Every golden case is put to Envoy itself: what the manifests became is a configuration that it takes as valid.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ProxyTrust } from "../xds/proxy.ts";
import { testFleet } from "../xds/testing/certificates.ts";
import { findEnvoy } from "../xds/testing/envoy.ts";
import { fleetDomain } from "../xds/testing/mesh-case.ts";
import { defaultSettings, translate } from "../xds/translate.ts";
import { caseNames, readManifestCase } from "./testing/manifest-case.ts";
import { staticBootstrap } from "./testing/static-bootstrap.ts";

const found = findEnvoy();
const envoy = "path" in found ? found.path : "";
const folder = mkdtempSync(join(tmpdir(), "isthmus-golden-"));
let trust: ProxyTrust;

beforeAll(() => {
  trust = testFleet(folder, fleetDomain).svid("east", "shop", "front");
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function validate(name: string, bootstrap: unknown): Promise<string> {
  const file = join(folder, `${name}.json`);
  writeFileSync(file, JSON.stringify(bootstrap));
  const child = spawn(envoy, ["--mode", "validate", "-c", file, "-l", "warning"], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let said = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk: Buffer) => (said += chunk.toString()));
  await once(child, "close");
  return said;
}

describe.skipIf(envoy === "")("envoy --mode validate", () => {
  it.each(caseNames)("accepts what came of %s", async (name) => {
    const { ir, proxy } = readManifestCase(name);
    const said = await validate(name, staticBootstrap(translate(ir, proxy, trust, defaultSettings)));
    expect(said).toMatch(/configuration .* OK/);
    expect(said).not.toMatch(/\[(error|critical)\]|[Dd]eprecated/);
  });

  it("would refuse a case whose routes it cannot take", async () => {
    const { ir, proxy } = readManifestCase("grants-with-matches");
    const set = translate(ir, proxy, trust, defaultSettings);
    const broken = JSON.parse(JSON.stringify(staticBootstrap(set)).replaceAll('"regex":"', '"regex":"(')) as unknown;
    expect(await validate("broken", broken)).not.toMatch(/configuration .* OK/);
  });
});
