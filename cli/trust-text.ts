// The answer of `/v1/trust` as a person reads it. Pure.
import type { Rotation } from "../hub/rotation/rotation.ts";
import type { AgentTrust, TrustOverview } from "../hub/api/trust-overview.ts";
import { shortDuration, table } from "./output.ts";

export function trustText(overview: TrustOverview, nowMs: number): string {
  const parts = [
    rootsText(overview, nowMs),
    signingText(overview, nowMs),
    rotationText(overview, nowMs),
    membersText(overview),
  ];
  return parts.filter((part) => part !== "").join("\n\n");
}

function rootsText({ fleetDomain, bundleSequence, roots, rotation }: TrustOverview, nowMs: number): string {
  const rows = roots.map(({ id, kind, state, fingerprint, notAfterMs }) => [
    id,
    rotation?.step === "retiring" && id === rotation.from ? "retiring" : state,
    kind,
    fingerprint === "" ? "waits for its certificate" : fingerprint.slice(0, 16),
    fingerprint === "" ? "" : `in ${shortDuration(notAfterMs - nowMs)}`,
  ]);
  const heading = `fleet ${fleetDomain}, trust bundle ${bundleSequence}`;
  return `${heading}\n${table([["ROOT", "STATE", "FROM", "FINGERPRINT", "ENDS"], ...rows])}`;
}

function signingText({ signing }: TrustOverview, nowMs: number): string {
  return signing
    .map(({ code, message, sinceMs }) => `WARNING for ${shortDuration(nowMs - sinceMs)}: ${message} (${code})`)
    .join("\n");
}

function rotationText({ rotation, lastRotation, roots }: TrustOverview, nowMs: number): string {
  if (rotation === undefined) {
    if (lastRotation === undefined) return "";
    const { from, to, outcome, endedAtMs } = lastRotation;
    const ago = shortDuration(nowMs - endedAtMs);
    return `no rotation runs; the last one, from ${from} to ${to}, was ${outcome === "completed" ? "completed" : "rolled back"} ${ago} ago`;
  }
  const { from, to, step, journal, blockers } = rotation;
  const since = shortDuration(nowMs - (journal.at(-1)?.atMs ?? nowMs));
  const kind = roots.find(({ id }) => id === to)?.kind ?? "";
  const lines = [
    `rotation from ${from} to ${to} (${kind}): ${step} for ${since}${rotation.reversible ? ", can be rolled back" : ""}`,
    `  ${journal.map((entry) => `${entry.step} ${new Date(entry.atMs).toISOString()}`).join(" -> ")}`,
  ];
  const reasons = blockers.map(
    ({ cluster, reason }) => `  waits for ${cluster === "" ? "the hub" : cluster}: ${reason}`,
  );
  return [
    ...lines,
    ...ordersText(rotation),
    ...(reasons.length === 0 ? ["  waits for nobody: the next step comes"] : reasons),
  ].join("\n");
}

/** What an operator has said of it. */
function ordersText({ hastenedUntilMs, proxiesAside = [], setAside }: Rotation): readonly string[] {
  const lines: string[] = [];
  if (hastenedUntilMs !== undefined) {
    lines.push(`  emergency: nobody is waited for after ${new Date(hastenedUntilMs).toISOString()}`);
  }
  if (proxiesAside.length > 0) lines.push(`  proxies set aside: ${proxiesAside.join(", ")}`);
  if (setAside.length > 0) lines.push(`  set aside: ${setAside.join(", ")}`);
  return lines;
}

function membersText({ members, reissue, roots }: TrustOverview): string {
  if (members.length === 0) return "";
  const head = ["CLUSTER", "AGENT", "BUNDLE", "PROXIES", ...roots.map(({ id }) => `TRUST/USE/PROVE ${id}`)];
  const rows = members.flatMap(({ cluster, away, setAside, agents }) => {
    const marks = [
      away ? "away" : "",
      setAside ? "set aside" : "",
      reissue.includes(cluster) ? "cluster CA asked for" : "",
    ];
    const mark = marks.filter((word) => word !== "").join(", ");
    const name = mark === "" ? cluster : `${cluster} (${mark})`;
    if (agents.length === 0) return [[name, "-", "-", "-", ...roots.map(() => "-")]];
    return agents.map((agent) => [name, ...agentCells(agent)]);
  });
  return table([head, ...rows]);
}

function agentCells({ pod, bundleSequence, proxies, roots }: AgentTrust): readonly string[] {
  const cells = roots.map(({ trustedBy, usedBy, provenBy, clusterCa }) => {
    return `${trustedBy}/${usedBy}/${provenBy}${clusterCa ? " signs here" : ""}`;
  });
  return [pod, String(bundleSequence), String(proxies), ...cells];
}
