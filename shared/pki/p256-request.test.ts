import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { generateKeyPem, spkiOfKeyPem } from "./key.ts";
import { proofOf, requestFacts } from "./p256-request.ts";
import { buildRequest } from "./x509-builder.ts";
import { parseRequest } from "./x509.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "isthmus-request-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

function opensslRequest(key: readonly string[], extra: readonly string[] = []): Uint8Array {
  const keyFile = join(folder, "asked.key");
  execFileSync("openssl", ["genpkey", ...key, "-out", keyFile], { stdio: "pipe" });
  const args = ["req", "-new", "-key", keyFile, "-outform", "DER", "-subj", "/O=evil/CN=west", ...extra];
  return new Uint8Array(execFileSync("openssl", args, { stdio: "pipe" }));
}

const p256 = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];

function readP256Request(der: Uint8Array) {
  const proof = proofOf(der);
  return proof === "unread" ? undefined : requestFacts(der, proof);
}

/** What the whole parser says, as far as anybody asks. */
async function wholeAnswer(der: Uint8Array) {
  const parsed = await parseRequest(der);
  return parsed.ok ? parsed.value : undefined;
}

describe("a plain P-256 request is read as the whole parser reads it", () => {
  it.each<[string, () => Promise<Uint8Array> | Uint8Array]>([
    ["made by an agent", () => buildRequest(generateKeyPem())],
    ["made by openssl", () => opensslRequest(p256)],
    ["that asks for names", () => opensslRequest(p256, ["-addext", "subjectAltName=URI:spiffe://acme.mesh/hub"])],
  ])("%s", async (_what, make) => {
    const der = await make();
    const read = readP256Request(der);
    expect(read).toEqual(await wholeAnswer(der));
    expect(read?.signatureValid).toBe(true);
  });

  it("with somebody else's key in it: proves nothing", async () => {
    const der = Buffer.from(await buildRequest(generateKeyPem()));
    const at = der.indexOf(Buffer.from("3059301306072a8648ce3d0201", "hex"));
    Buffer.from(spkiOfKeyPem(generateKeyPem())).copy(der, at);
    expect(readP256Request(der)).toMatchObject({ signatureValid: false });
  });

  it("inside a larger buffer, as a message's field is", async () => {
    const der = await buildRequest(generateKeyPem());
    const message = Buffer.concat([Buffer.alloc(7, 0xff), der, Buffer.alloc(9, 0xff)]);
    expect(readP256Request(message.subarray(7, 7 + der.length))).toEqual(await wholeAnswer(der));
  });

  it("changed anywhere: never a valid proof that the whole parser does not see", async () => {
    const der = await buildRequest(generateKeyPem());
    const position = fc.integer({ min: 0, max: der.length - 1 });
    await fc.assert(
      fc.asyncProperty(position, fc.integer({ min: 1, max: 255 }), async (at, bits) => {
        const changed = Uint8Array.from(der);
        changed[at] = (changed[at] ?? 0) ^ bits;
        const read = readP256Request(changed);
        if (read?.signatureValid !== true) return;
        expect(read).toEqual(await wholeAnswer(changed));
      }),
      { numRuns: 300 },
    );
  });
});

describe("left to the whole parser is", () => {
  it.each<[string, () => Promise<Uint8Array> | Uint8Array]>([
    ["a P-384 key", () => opensslRequest(["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"])],
    ["an RSA key", () => opensslRequest(["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"])],
    ["another hash", () => opensslRequest(p256, ["-sha384"])],
    ["a weak hash", () => opensslRequest(p256, ["-sha1"])],
    [
      "a request with bytes after it",
      async () => Buffer.concat([await buildRequest(generateKeyPem()), Buffer.alloc(1)]),
    ],
    ["a request cut off", async () => (await buildRequest(generateKeyPem())).subarray(0, -1)],
    ["nothing", () => new Uint8Array()],
    ["an indefinite length", () => Buffer.from("30800000", "hex")],
    ["a length of 2^32", () => Buffer.from("3084ffffffff00", "hex")],
    ["deep nesting", () => Uint8Array.from({ length: 16_000 }, (_value, at) => (at % 2 === 0 ? 0x30 : 0x80))],
  ])("%s", async (_what, make) => {
    expect(readP256Request(await make())).toBeUndefined();
  });

  it("a point that is not on the curve", async () => {
    const der = Buffer.from(await buildRequest(generateKeyPem()));
    const at = der.indexOf(Buffer.from("3059301306072a8648ce3d0201", "hex"));
    der.fill(0x11, at + 27, at + 91);
    expect(readP256Request(der)).toBeUndefined();
  });
});
