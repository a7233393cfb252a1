// How a person names a caller and a service on the command line. Pure; used by `isthmus explain`.
import { UserError } from "../../shared/errors.ts";
import type { ExplainOrder } from "../../hub/api/explain.ts";

function usage(message: string, hint: string): UserError {
  return new UserError("ISTHMUS_USAGE", message, { hint });
}

/** `east/shop/storefront` */
export function parseCaller(text: string): ExplainOrder["from"] {
  const [member = "", namespace = "", serviceAccount = "", ...rest] = text.split("/");
  if (member === "" || namespace === "" || serviceAccount === "" || rest.length > 0)
    throw usage(`"${text}" is no caller`, "MEMBER/NAMESPACE/SERVICEACCOUNT, e.g. east/shop/storefront");
  return { member, namespace, serviceAccount };
}

/** What a service's name may end in, and what that says of its scope. */
const endings: Readonly<Record<string, string>> = {
  "": "",
  svc: "cluster",
  "svc.cluster": "cluster",
  "svc.cluster.local": "cluster",
  "svc.clusterset.local": "fleet",
};

function portOf(text: string): number | undefined {
  const port = Number(text);
  return /^[0-9]{1,5}$/.test(text) && port > 0 && port < 65_536 ? port : undefined;
}

/** `catalog.shop`, `catalog.shop:8080`, `catalog.shop.svc.clusterset.local`; a trailing dot changes nothing. */
export function parseTarget(text: string): ExplainOrder["to"] {
  const colon = text.lastIndexOf(":");
  const host = colon === -1 ? text : text.slice(0, colon);
  const port = colon === -1 ? 0 : portOf(text.slice(colon + 1));
  const [name = "", namespace = "", ...ending] = host.replace(/\.$/, "").split(".");
  const scope = endings[ending.join(".")];
  if (name !== "" && namespace !== "" && scope !== undefined && port !== undefined)
    return { name, namespace, scope, port };
  throw usage(
    `"${text}" is no service`,
    "NAME.NAMESPACE[:PORT], e.g. catalog.shop:80 or catalog.shop.svc.clusterset.local",
  );
}

/** `name: value` */
export function parseHeader(text: string): ExplainOrder["headers"][number] {
  const colon = text.indexOf(":", 1);
  const name = text.slice(0, colon).trim().toLowerCase();
  if (colon === -1 || name === "") throw usage(`"${text}" is no header`, '--header "role: admin"');
  return { name, value: text.slice(colon + 1).trim() };
}
