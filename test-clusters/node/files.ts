// Configuration files of a node as text: kubelet, kube-proxy, CNI, audit policy. Pure.
import { stringify } from "yaml";
import { DNS_SERVICE_IP, NODE_POD_CIDR, POD_CIDR } from "../network/addresses.ts";
import type { ClusterPlace } from "./place.ts";

/** All pods of a node share one small machine with other nodes: evict only when it is really full. */
const evictionHard = { "nodefs.available": "1%", "imagefs.available": "1%", "memory.available": "50Mi" };

export function kubeletConfig(place: ClusterPlace): string {
  return stringify({
    apiVersion: "kubelet.config.k8s.io/v1beta1",
    kind: "KubeletConfiguration",
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: true },
      x509: { clientCAFile: `${place.pki}/ca.crt` },
    },
    authorization: { mode: "Webhook" },
    tlsCertFile: `${place.pki}/node.crt`,
    tlsPrivateKeyFile: `${place.pki}/node.key`,
    cgroupDriver: "cgroupfs",
    cgroupRoot: `/${place.cgroup}`,
    cgroupsPerQOS: true,
    failCgroupV1: false,
    enforceNodeAllocatable: [],
    containerRuntimeEndpoint: `unix://${place.socket}`,
    clusterDNS: [DNS_SERVICE_IP],
    clusterDomain: "cluster.local",
    resolvConf: `${place.home}/resolv.conf`,
    podLogsDir: `${place.home}/pod-logs`,
    volumePluginDir: `${place.home}/volume-plugins`,
    healthzBindAddress: "127.0.0.1",
    failSwapOn: false,
    // the device of the image file system is not visible everywhere
    localStorageCapacityIsolation: false,
    evictionHard,
    imageGCHighThresholdPercent: 100, // images are imported, never pulled: a removed one could not come back
    imageMaximumGCAge: "0s",
    maxPods: 200,
    serializeImagePulls: false,
    registerNode: true,
    // pods of a test come in bursts: the defaults are for nodes of a large cluster
    kubeAPIQPS: 200,
    kubeAPIBurst: 400,
    eventRecordQPS: 0,
    // trust bundles and tokens reach a pod by volumes that the kubelet refreshes at this pace (default 1 min)
    syncFrequency: "10s",
    configMapAndSecretChangeDetectionStrategy: "Watch",
    // no metrics of volumes: walking them costs more than a test cluster has
    volumeStatsAggPeriod: "-1s",
    shutdownGracePeriod: "0s",
  });
}

export function proxyConfig(place: ClusterPlace): string {
  return stringify({
    apiVersion: "kubeproxy.config.k8s.io/v1alpha1",
    kind: "KubeProxyConfiguration",
    mode: "nftables",
    clientConnection: { kubeconfig: `${place.home}/proxy.kubeconfig` },
    clusterCIDR: POD_CIDR,
    // the limits of connection tracking belong to the host, not to this namespace
    conntrack: { maxPerCore: 0, min: 0, tcpCloseWaitTimeout: "0s", tcpEstablishedTimeout: "0s" },
    nftables: { syncPeriod: "30s", minSyncPeriod: "100ms" },
    healthzBindAddress: "127.0.0.1:10256",
    metricsBindAddress: "127.0.0.1:10249",
  });
}

/**
 * Pods hang on point-to-point links and every packet is routed: Services between pods of one node work without the
 * br_netfilter module, and a fault rule in the node's forward chain hits pod to pod traffic too.
 */
export function cniConfig(place: ClusterPlace): string {
  return JSON.stringify({
    cniVersion: "1.0.0",
    name: "pods",
    plugins: [
      {
        type: "ptp",
        ipMasq: true,
        ipam: {
          type: "host-local",
          ranges: [[{ subnet: NODE_POD_CIDR }]],
          routes: [{ dst: "0.0.0.0/0" }],
          dataDir: `${place.home}/cni/data`,
        },
      },
      { type: "portmap", capabilities: { portMappings: true } },
    ],
  });
}

/** The node itself resolves nothing: there is no network outside the run. */
export const nodeResolvConf = "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n";

/** Who runs the system under test: every request of an account of this namespace is logged, and nothing else. */
const AUDITED_ACCOUNTS = "system:serviceaccounts:isthmus-system";

/** A watch is logged when it starts: most of them never end. */
export const auditPolicy = stringify({
  apiVersion: "audit.k8s.io/v1",
  kind: "Policy",
  omitStages: ["RequestReceived"],
  rules: [{ level: "Metadata", userGroups: [AUDITED_ACCOUNTS] }, { level: "None" }],
});
