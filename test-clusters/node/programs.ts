// Command lines of a cluster's programs. Pure: a function of the cluster's place, so that a reader (and a golden test)
// sees every flag at once. cluster.ts starts them.
import { POD_CIDR, SERVICE_CIDR } from "../network/addresses.ts";
import type { ClusterPlace } from "./place.ts";

/** Issuer and audience of service-account tokens; equal in all clusters, so nothing may take it for an identity. */
const ISSUER = "https://kubernetes.default.svc.cluster.local";
const ETCD = "http://127.0.0.1:2379";
const ETCD_PEER = "http://127.0.0.1:2380";

type Flags = Readonly<Record<string, string | number | boolean>>;

function flags(values: Flags): readonly string[] {
  return Object.entries(values).map(([name, value]) => `--${name}=${value}`);
}

export function etcdFlags(place: ClusterPlace): readonly string[] {
  return flags({
    name: place.cluster,
    "data-dir": `${place.home}/etcd`,
    "listen-client-urls": ETCD,
    "advertise-client-urls": ETCD,
    "listen-peer-urls": ETCD_PEER,
    "initial-advertise-peer-urls": ETCD_PEER,
    "initial-cluster": `${place.cluster}=${ETCD_PEER}`,
    // the data need not outlive the machine, and waiting for the disk is most of a write's time
    "unsafe-no-fsync": true,
    "log-level": "warn",
  });
}

export function apiserverFlags(place: ClusterPlace): readonly string[] {
  const pki = (file: string) => `${place.pki}/${file}`;
  return flags({
    "etcd-servers": ETCD,
    "advertise-address": place.nodeAddress,
    "secure-port": place.apiPort,
    "tls-cert-file": pki("apiserver.crt"),
    "tls-private-key-file": pki("apiserver.key"),
    "client-ca-file": pki("ca.crt"),
    "service-account-issuer": ISSUER,
    "service-account-key-file": pki("sa.pub"),
    "service-account-signing-key-file": pki("sa.key"),
    "service-cluster-ip-range": SERVICE_CIDR,
    "authorization-mode": "Node,RBAC",
    "enable-admission-plugins": "NodeRestriction",
    "allow-privileged": true,
    "kubelet-certificate-authority": pki("ca.crt"),
    "kubelet-client-certificate": pki("kubelet-client.crt"),
    "kubelet-client-key": pki("kubelet-client.key"),
    // exec and logs: the node's name is in no DNS
    "kubelet-preferred-address-types": "InternalIP",
    // aggregation: without these an APIService cannot tell who calls
    "requestheader-client-ca-file": pki("front-proxy-ca.crt"),
    "requestheader-allowed-names": "front-proxy-client",
    "requestheader-extra-headers-prefix": "X-Remote-Extra-",
    "requestheader-group-headers": "X-Remote-Group",
    "requestheader-username-headers": "X-Remote-User",
    "proxy-client-cert-file": pki("front-proxy.crt"),
    "proxy-client-key-file": pki("front-proxy.key"),
    "audit-policy-file": place.auditPolicy,
    "audit-log-path": place.auditLog,
    profiling: false,
  });
}

function clientFlags(kubeconfig: string): Flags {
  return {
    kubeconfig,
    "authentication-kubeconfig": kubeconfig,
    "authorization-kubeconfig": kubeconfig,
    "leader-elect": false,
    profiling: false,
  };
}

export function controllerManagerFlags(place: ClusterPlace): readonly string[] {
  return flags({
    ...clientFlags(`${place.home}/controller-manager.kubeconfig`),
    "service-account-private-key-file": `${place.pki}/sa.key`,
    "root-ca-file": `${place.pki}/ca.crt`,
    "use-service-account-credentials": true,
    "cluster-cidr": POD_CIDR,
    "allocate-node-cidrs": true,
    "service-cluster-ip-range": SERVICE_CIDR,
    // a killed node is noticed sooner than by default (40 s), so that tests of a dead node need not wait
    "node-monitor-grace-period": "20s",
  });
}

export function schedulerFlags(place: ClusterPlace): readonly string[] {
  return flags(clientFlags(`${place.home}/scheduler.kubeconfig`));
}

export function kubeletFlags(place: ClusterPlace): readonly string[] {
  return flags({
    config: `${place.home}/kubelet.yaml`,
    kubeconfig: `${place.home}/node.kubeconfig`,
    "root-dir": `${place.home}/kubelet`,
    "cert-dir": `${place.home}/kubelet-pki`,
    "hostname-override": place.nodeName,
    "node-ip": place.nodeAddress,
  });
}

export function proxyFlags(place: ClusterPlace): readonly string[] {
  return flags({ config: `${place.home}/kube-proxy.yaml`, "hostname-override": place.nodeName });
}
