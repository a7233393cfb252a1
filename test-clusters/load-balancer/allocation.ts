// Which address a Service of type LoadBalancer gets: pure, level-triggered. From all Services and the cluster's pool it
// says what each status should be; the controller only carries it out.
import { numberToIp, ipToNumber, rangeOf } from "../network/addresses.ts";

export interface LoadBalancerService {
  readonly metadata: {
    readonly namespace: string;
    readonly name: string;
    readonly creationTimestamp?: string;
    readonly deletionTimestamp?: string;
  };
  readonly spec: {
    readonly type?: string;
    readonly loadBalancerClass?: string;
    readonly loadBalancerIP?: string;
  };
  readonly status?: { readonly loadBalancer?: { readonly ingress?: readonly { readonly ip?: string }[] } };
}

export interface StatusChange {
  readonly namespace: string;
  readonly name: string;
  /** Undefined: the address is taken back, the Service is not of this type any more. */
  readonly ip: string | undefined;
}

export function addressOf(service: LoadBalancerService): string | undefined {
  return service.status?.loadBalancer?.ingress?.[0]?.ip;
}

function isOurs(service: LoadBalancerService): boolean {
  // a class names another controller: this one serves those that ask for the default
  return service.spec.type === "LoadBalancer" && service.spec.loadBalancerClass === undefined;
}

function inPool(ip: string, pool: string): boolean {
  const range = rangeOf(pool);
  const value = ipToNumber(ip);
  return value >= range.first && value <= range.last;
}

/** What must be written. Addresses already given stay; a wish is granted if it is in the pool and free. */
export function planAddresses(services: readonly LoadBalancerService[], pool: string): readonly StatusChange[] {
  const changes: StatusChange[] = [];
  const taken = new Set<string>();
  const waiting: LoadBalancerService[] = [];
  const byAge = [...services].sort((a, b) => ageKey(a).localeCompare(ageKey(b)));
  for (const service of byAge) {
    const { namespace, name } = service.metadata;
    const ip = addressOf(service);
    if (!isOurs(service)) {
      const released = service.spec.type !== "LoadBalancer" && ip !== undefined;
      if (released) changes.push({ namespace, name, ip: undefined });
    } else if (ip !== undefined && inPool(ip, pool) && !taken.has(ip)) taken.add(ip);
    else waiting.push(service);
  }
  for (const service of waiting) {
    const { namespace, name } = service.metadata;
    const ip = pick(service.spec.loadBalancerIP, pool, taken);
    if (ip === undefined) continue; // stays pending, as in any cloud without free addresses
    taken.add(ip);
    changes.push({ namespace, name, ip });
  }
  return changes;
}

/** Older first, so that a new Service cannot take an address that an older one waits for. */
function ageKey(service: LoadBalancerService): string {
  const { creationTimestamp = "", namespace, name } = service.metadata;
  return `${creationTimestamp} ${namespace}/${name}`;
}

function pick(wish: string | undefined, pool: string, taken: ReadonlySet<string>): string | undefined {
  if (wish !== undefined && wish !== "") return inPool(wish, pool) && !taken.has(wish) ? wish : undefined;
  const { first, last } = rangeOf(pool);
  for (let value = first + 1; value < last; value += 1) {
    const ip = numberToIp(value);
    if (!taken.has(ip)) return ip;
  }
  return undefined;
}
