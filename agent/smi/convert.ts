// One SMI object from any of its versions to any other. Pure and total: what one version stores, every other reads back,
// and what a version cannot say is kept (kept.ts) until it is written again through one that can. Called by the conversion
// webhook for the API server, and by the parsers for whatever version an object comes in.
import { fieldOf, stringOf, type JsonObject } from "../kube/json.ts";
import { ok, rejected, type Result } from "../../shared/result.ts";
import { versionCode, type Conversion, type Converted } from "./conversion.ts";
import { httpRouteGroupConversion } from "./http-route-group.ts";
import { readKept, tooLarge, withKept } from "./kept.ts";
import { tcpRouteConversion } from "./tcp-route.ts";
import { trafficSplitConversion } from "./traffic-split.ts";
import { trafficTargetConversion } from "./traffic-target.ts";
import { isSmiKind, smiKinds, storedVersion, type SmiKind, type SmiKindName } from "./versions.ts";

const conversions: Readonly<Partial<Record<SmiKindName, Conversion>>> = {
  TrafficTarget: trafficTargetConversion,
  HTTPRouteGroup: httpRouteGroupConversion,
  TCPRoute: tcpRouteConversion,
  TrafficSplit: trafficSplitConversion,
};

export function convert(object: JsonObject, apiVersion: string): Result<JsonObject> {
  const kind = stringOf(object["kind"]);
  const from = isSmiKind(kind) ? versionOf(kind, stringOf(object["apiVersion"])) : undefined;
  const to = isSmiKind(kind) ? versionOf(kind, apiVersion) : undefined;
  if (!isSmiKind(kind) || from === undefined || to === undefined) {
    const what = `${kind.slice(0, 64)} of ${stringOf(object["apiVersion"]).slice(0, 64)}`;
    return rejected(versionCode, `${what} cannot be converted to ${apiVersion.slice(0, 64)}`, "apiVersion");
  }
  if (from === to) return ok(object);
  const stored = up(kind, from, { object, kept: readKept(object) });
  if (!stored.ok) return stored;
  const wanted = to === storedVersion(kind) ? stored.value : down(kind, to, stored.value);
  return ok({ ...withKept(wanted.object, wanted.kept), apiVersion });
}

/** As it is stored. An object that is no SMI object, or of a version that never was, is returned as it is. */
export function toStored(object: JsonObject): Result<JsonObject> {
  const kind = stringOf(object["kind"]);
  if (!isSmiKind(kind) || versionOf(kind, stringOf(object["apiVersion"])) === undefined) return ok(object);
  return convert(object, `${smiKinds[kind].group}/${storedVersion(kind)}`);
}

function versionOf(kind: SmiKindName, apiVersion: string): string | undefined {
  const { group, versions }: SmiKind = smiKinds[kind];
  return versions.find((version) => apiVersion === `${group}/${version}`);
}

function up(kind: SmiKindName, version: string, from: Converted): Result<Converted> {
  const stored = storedVersion(kind);
  if (version === stored) return ok(from);
  if (fieldOf(from.kept, stored) === tooLarge) {
    const message = `it says more in ${stored} than ${version} can show or keep: write it as ${stored}`;
    return rejected(versionCode, message, "apiVersion");
  }
  return conversions[kind]?.up(version, from) ?? ok(from);
}

function down(kind: SmiKindName, version: string, from: Converted): Converted {
  return conversions[kind]?.down(version, from) ?? from;
}
