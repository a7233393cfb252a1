import { expect, it } from "vitest";
import { parsePkcs11Uri } from "./pkcs11-uri.ts";

const good = "pkcs11:token=fleet%20keys?module-path=/usr/lib/x.so&pin-source=file:/etc/isthmus/pin";

it.each([good, good.replace("file:/etc", "file:///etc")])("%s names token, library and PIN file", (uri) => {
  expect(parsePkcs11Uri(uri)).toEqual({
    ok: true,
    value: { tokenLabel: "fleet keys", modulePath: "/usr/lib/x.so", pinFile: "/etc/isthmus/pin" },
  });
});

it.each([
  ["", "it is written like"],
  ["pkcs11:token=a", "it is written like"],
  ["https://token=a?module-path=/x", "it is written like"],
  ["pkcs11:?module-path=/x&pin-source=file:/y", "NAME=VALUE"],
  ["pkcs11:token=%zz?module-path=/x&pin-source=file:/y", "NAME=VALUE"],
  ["pkcs11:token=a;token=b?module-path=/x&pin-source=file:/y", "NAME=VALUE"],
  ["pkcs11:token=a;object=b?module-path=/x&pin-source=file:/y", "unknown here: object"],
  ["pkcs11:token=a?module-path=/x&pin-source=file:/y&color=red", "unknown here: color"],
  ["pkcs11:token=a?module-path=/x&pin-value=1234", "pin-value would be in argv"],
  ["pkcs11:token=?module-path=/x&pin-source=file:/y", "token=LABEL is missing"],
  ["pkcs11:token=a?module-path=x.so&pin-source=file:/y", "module-path is no absolute path"],
  ["pkcs11:token=a?module-path=/x&pin-source=pin", "pin-source is no absolute path"],
  ["pkcs11:token=a?module-path=/x", "pin-source is no absolute path"],
])("%s is refused: %s", (uri, message) => {
  const parsed = parsePkcs11Uri(uri);
  expect(parsed).toMatchObject({ ok: false, error: [{ code: "ISTHMUS_PKCS11_URI" }] });
  expect(JSON.stringify(parsed)).toContain(message);
});
