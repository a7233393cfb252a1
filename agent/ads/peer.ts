// Who is at the other end of an ADS stream: what the token says, and the node id that must agree with it.
// Called by server. Any process that can reach the port can write any node id, so the id alone proves nothing.
import { rejected, ok, type Result } from "../../shared/result.ts";

/** What TokenReview said of the bearer token. */
export interface AdsIdentity {
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly podName: string;
  readonly podUid: string;
  readonly expiresAtMs: number;
}

export interface Peer extends AdsIdentity {
  readonly kind: "sidecar" | "gateway";
  readonly nodeId: string;
}

const nodeId = /^(sidecar|gateway)~([^~]+)\.([^~.]+)$/;

/** Node ids are `sidecar~<pod>.<namespace>`: pod names may hold dots, namespaces may not, so the last dot divides. */
export function parsePeer(id: string, identity: AdsIdentity): Result<Peer> {
  const match = nodeId.exec(id);
  if (match === null) {
    return rejected(
      "ISTHMUS_ADS_NODE",
      `node id ${JSON.stringify(id)} is not sidecar~<pod>.<namespace> or gateway~<pod>.<namespace>`,
    );
  }
  const [, kind, podName, namespace] = match;
  if (podName !== identity.podName || namespace !== identity.namespace) {
    return rejected(
      "ISTHMUS_ADS_NODE",
      `node id ${id} does not belong to the token's pod ${identity.podName}.${identity.namespace}`,
    );
  }
  return ok({ ...identity, kind: kind === "gateway" ? "gateway" : "sidecar", nodeId: id });
}
