import { generateKeyPairSync, sign, verify } from "node:crypto";
import { expect, it } from "vitest";
import { ecdsaSignature, time } from "./der.ts";

it.each([
  [Date.UTC(2049, 11, 31, 23, 59, 59), "170d3439313233313233353935395a"],
  [Date.UTC(2050, 0, 1), "180f32303530303130313030303030305a"],
  [Date.UTC(2008, 1, 3, 4, 5, 6), "170d3038303230333034303530365a"],
])("the time %i is written as RFC 5280 4.1.2.5 says", (timeMs, hex) => {
  expect(time(timeMs).toString("hex")).toBe(hex);
});

it("a token's signature becomes the DER that X.509 wants, whatever its leading octets", () => {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  // one in 256 begins with a zero octet, every other needs a sign octet
  for (let at = 0; at < 1500; at += 1) {
    const data = Buffer.from(`message ${at}`);
    const raw = sign("sha256", data, { key: privateKey, dsaEncoding: "ieee-p1363" });
    expect(verify("sha256", data, publicKey, ecdsaSignature(raw))).toBe(true);
  }
  expect(ecdsaSignature(Buffer.alloc(4)).toString("hex")).toBe("3006020100020100");
});
