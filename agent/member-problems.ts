// What a member lacks and what is wrong with it, gathered from its parts at the moment of asking: for readiness, `isthmus status`, the
// hub and the metrics alike.
import { trustDomainOf } from "../shared/ids.ts";
import type { Problem } from "../shared/result.ts";
import { skewProblems } from "./hub/clock-skew.ts";
import { refusedProblems } from "./hub/refused-records.ts";
import { accountNameProblems } from "./identity/account-names.ts";
import { certificateProblems } from "./identity/certificate-ages.ts";
import type { Member } from "./member-parts.ts";
import { missingSources } from "./mesh-inputs.ts";

/** Undefined: it serves. */
export function missingText({ sources, levels }: Member): string | undefined {
  const served = levels.adsOpen && levels.settled !== undefined;
  const missing = [...missingSources(sources), ...(served ? [] : ["the first configuration for proxies"])];
  return missing.length === 0 ? undefined : `waiting for ${missing.join(", ")}`;
}

export function allProblems(member: Member): readonly Problem[] {
  const { levels, mesh, leader, deps, remote, sources, publisher } = member;
  const built = levels.settled?.problems ?? [];
  const { platform } = deps;
  const located = built.map((problem) => platform.located(problem));
  const cutOff = levels.cutOff === undefined ? [] : [levels.cutOff];
  const aging = certificateProblems(member.heldCertificates(), deps.clock.now());
  const { cluster, fleetDomain } = member.identity;
  const names = accountNameProblems(mesh.accounts(), trustDomainOf(cluster, fleetDomain));
  const own = [...cutOff, ...skewProblems(levels.skewMs), ...aging, ...mesh.nacks(), ...names];
  const ofCopies = [
    ...sources.copies.problems(),
    ...refusedProblems(publisher.refused()),
    ...member.failing.problems(),
  ];
  return [...own, ...located, ...platform.problems(), ...leader.problems(), ...remote.problems(), ...ofCopies];
}
