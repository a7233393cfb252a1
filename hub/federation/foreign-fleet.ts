// Another fleet that this one verifies: where its bundle is read, how its endpoint proves itself, and the roots last read. Kept in
// fleet.json and stated to agents in the signed bundle. Pure.
import { parseFleetDomain, parseSpiffeId, type FleetDomain } from "../../shared/ids.ts";
import { ok, rejected, type Result } from "../../shared/result.ts";
import type { SpiffeBundle } from "./spiffe-bundle.ts";

/** SPIFFE Federation, section 5.2: by a certificate of the web, or by the fleet's own roots and an ID. */
export type EndpointProfile = "https_web" | "https_spiffe";
export const endpointProfiles: readonly EndpointProfile[] = ["https_web", "https_spiffe"];

export interface ForeignFleet {
  readonly fleetDomain: FleetDomain;
  readonly url: string;
  readonly profile: EndpointProfile;
  /** Of the endpoint's certificate, in profile https_spiffe. */
  readonly endpointId?: string;
  readonly sequence: number;
  readonly refreshHintS: number;
  /** DER, base64. */
  readonly roots: readonly string[];
}

export type FederationOrder = Pick<ForeignFleet, "fleetDomain" | "url" | "profile" | "endpointId">;

export function parseOrder(body: unknown, ownFleet: FleetDomain): Result<FederationOrder> {
  const given = (body ?? {}) as Partial<Record<string, unknown>>;
  const text = (name: string) => (typeof given[name] === "string" ? given[name] : "");
  const fleetDomain = parseFleetDomain(text("fleetDomain"));
  if (!fleetDomain.ok) return fleetDomain;
  const refuse = (message: string) => rejected("ISTHMUS_FEDERATION", message);
  if (fleetDomain.value === ownFleet) return refuse(`${ownFleet} is this fleet itself`);
  const url = text("url");
  if (!URL.canParse(url) || new URL(url).protocol !== "https:") return refuse(`"${url}" is no https URL`);
  const profile = endpointProfiles.find((name) => name === text("profile"));
  if (profile === undefined) return refuse(`the profile is one of ${endpointProfiles.join(", ")}`);
  if (profile === "https_web") return ok({ fleetDomain: fleetDomain.value, url, profile });
  const endpointId = text("endpointId") === "" ? `spiffe://${fleetDomain.value}/hub` : text("endpointId");
  if (!parseSpiffeId(endpointId).ok) return refuse(`"${endpointId}" is no SPIFFE ID`);
  return ok({ fleetDomain: fleetDomain.value, url, profile, endpointId });
}

/**
 * The fleet after its endpoint stated `read`: the same object when nothing changed. A number that falls is a bundle of the past; its
 * roots are not taken (SPIFFE Trust Domain and Bundle, 4.1.2).
 */
export function afterReading(
  fleet: ForeignFleet,
  { sequence, refreshHintS, rootsDer }: SpiffeBundle,
): Result<ForeignFleet> {
  if (sequence < fleet.sequence) {
    const message = `${fleet.fleetDomain} states bundle ${sequence} after ${fleet.sequence}: it went back in time`;
    return rejected("ISTHMUS_FOREIGN_BUNDLE", message);
  }
  const roots = rootsDer.map((der) => Buffer.from(der).toString("base64")).sort();
  const same = sequence === fleet.sequence && refreshHintS === fleet.refreshHintS && equal(roots, fleet.roots);
  return ok(same ? fleet : { ...fleet, sequence, refreshHintS, roots });
}

function equal(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((text, at) => text === b[at]);
}

interface FederatedFile {
  readonly bundle: { readonly sequence: number };
  readonly federation?: readonly ForeignFleet[];
}

/** The file with these fleets; the bundle's number rises when what agents hear is another. The same when nothing changed. */
export function withFleets<File extends FederatedFile>(file: File, fleets: readonly ForeignFleet[]): File {
  const before = file.federation ?? [];
  const sorted = [...fleets].sort((a, b) => (a.fleetDomain < b.fleetDomain ? -1 : 1));
  if (JSON.stringify(before) === JSON.stringify(sorted)) return file;
  const heard = (list: readonly ForeignFleet[]) =>
    JSON.stringify(list.map(({ fleetDomain, roots }) => [fleetDomain, roots]));
  const step = heard(before) === heard(sorted) ? 0 : 1;
  return { ...file, federation: sorted, bundle: { ...file.bundle, sequence: file.bundle.sequence + step } };
}
