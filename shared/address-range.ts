// An IP address, or a range of them with its length, as people write it in annotations, values and manifests.
import { isIP } from "node:net";

/** An address or CIDR, or undefined. Strict: what it returns becomes part of rules that run with NET_ADMIN. */
export function parseRange(text: string): { readonly family: "ip" | "ip6"; readonly range: string } | undefined {
  const [address = "", length, ...rest] = text.split("/");
  const version = isIP(address);
  if (version === 0 || rest.length > 0 || address.includes("%")) return undefined;
  const bits = version === 4 ? 32 : 128;
  if (length !== undefined && (!/^[0-9]{1,3}$/.test(length) || Number(length) > bits)) return undefined;
  return { family: version === 4 ? "ip" : "ip6", range: `${address}/${length ?? bits}` };
}
