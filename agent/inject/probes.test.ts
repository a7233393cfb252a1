import { expect, test } from "vitest";
import { parseProbes, probesText } from "./probes.ts";

test("the annotation of an injected pod says what its listeners stand for, and is read back", () => {
  const probes = [
    { port: 15901, check: "forward", targetPort: 8080 },
    { port: 15999, check: "connect", targetPort: 65_535 },
  ] as const;
  expect(probesText(probes)).toBe("15901=forward:8080,15999=connect:65535");
  expect(parseProbes(probesText(probes))).toEqual({ ok: true, value: probes });
  expect(parseProbes("")).toEqual({ ok: true, value: [] });
});

test.each([
  "x",
  "8080=forward:80",
  "15900=forward:80",
  "16000=forward:80",
  "15901=drop:80",
  "15901=forward:0",
  "15901=forward:70000",
  ",",
])("an annotation that is not ours is refused: %s", (text) => {
  expect(parseProbes(text)).toMatchObject({ ok: false, error: [{ code: "ISTHMUS_PROBES_ANNOTATION" }] });
});
