// Kubernetes objects that every cluster gets: CoreDNS and what it needs. Pure; cluster.ts applies them.
import { DNS_SERVICE_IP } from "../network/addresses.ts";
import type { KubeObject } from "../kube-client.ts";

export const PAUSE_IMAGE = "localhost/isthmus/pause:1";
export const COREDNS_IMAGE = "localhost/isthmus/coredns:1.15.0";

/**
 * `SVC.NS.svc.clusterset.local` is answered from the Service `isthmus-SVC` that the agent derives from a ServiceImport;
 * the answer is renamed back, so that the caller sees the name it asked for. Nothing outside the cluster is resolved.
 * "No such name" is not cached: a name that a test has just made must not stay unknown.
 */
export const corefile = `cluster.local:53 clusterset.local:53 in-addr.arpa:53 ip6.arpa:53 {
    errors
    health :8080 {
        lameduck 1s
    }
    ready :8181
    rewrite stop {
        name regex ^([^.]+)\\.([^.]+)\\.svc\\.clusterset\\.local\\.?$ isthmus-{1}.{2}.svc.cluster.local
        answer auto
    }
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods insecure
        ttl 5
    }
    cache 5 {
        disable denial
    }
    reload 2s
    loadbalance
}
.:53 {
    template ANY ANY {
        rcode NXDOMAIN
    }
}
`;

const labels = { "k8s-app": "kube-dns" };
const namespace = "kube-system";

interface Applied {
  /** Path of the object in the API. */
  readonly path: string;
  readonly object: KubeObject & Record<string, unknown>;
}

const access: readonly Applied[] = [
  {
    path: `/api/v1/namespaces/${namespace}/serviceaccounts/coredns`,
    object: { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "coredns", namespace } },
  },
  {
    path: "/apis/rbac.authorization.k8s.io/v1/clusterroles/system:coredns",
    object: {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "ClusterRole",
      metadata: { name: "system:coredns" },
      rules: [
        { apiGroups: [""], resources: ["services", "pods", "namespaces"], verbs: ["list", "watch"] },
        { apiGroups: ["discovery.k8s.io"], resources: ["endpointslices"], verbs: ["list", "watch"] },
      ],
    },
  },
  {
    path: "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/system:coredns",
    object: {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "ClusterRoleBinding",
      metadata: { name: "system:coredns" },
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "system:coredns" },
      subjects: [{ kind: "ServiceAccount", name: "coredns", namespace }],
    },
  },
  {
    // the kubelet's exec and logs: the API server's client certificate is in system:masters, which needs no role
    path: "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/system:kube-proxy",
    object: {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "ClusterRoleBinding",
      metadata: { name: "system:kube-proxy" },
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "system:node-proxier" },
      subjects: [{ kind: "User", name: "system:kube-proxy" }],
    },
  },
];

const dns: readonly Applied[] = [
  {
    path: `/api/v1/namespaces/${namespace}/configmaps/coredns`,
    object: {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: "coredns", namespace },
      data: { Corefile: corefile },
    },
  },
  {
    path: `/api/v1/namespaces/${namespace}/services/kube-dns`,
    object: {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: "kube-dns", namespace, labels },
      spec: {
        selector: labels,
        clusterIP: DNS_SERVICE_IP,
        ports: [
          { name: "dns", port: 53, protocol: "UDP" },
          { name: "dns-tcp", port: 53, protocol: "TCP" },
        ],
      },
    },
  },
  {
    path: `/apis/apps/v1/namespaces/${namespace}/deployments/coredns`,
    object: {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: { name: "coredns", namespace, labels },
      spec: { replicas: 1, selector: { matchLabels: labels }, template: { metadata: { labels }, spec: dnsPod() } },
    },
  },
];

function dnsPod() {
  return {
    serviceAccountName: "coredns",
    dnsPolicy: "Default",
    priorityClassName: "system-cluster-critical",
    securityContext: { runAsUser: 65532, runAsNonRoot: true },
    terminationGracePeriodSeconds: 5,
    containers: [
      {
        name: "coredns",
        image: COREDNS_IMAGE,
        imagePullPolicy: "IfNotPresent",
        args: ["-conf", "/etc/coredns/Corefile"],
        resources: { requests: { cpu: "10m", memory: "40Mi" }, limits: { memory: "170Mi" } },
        readinessProbe: { httpGet: { path: "/ready", port: 8181 }, periodSeconds: 1 },
        livenessProbe: { httpGet: { path: "/health", port: 8080 }, periodSeconds: 10, timeoutSeconds: 5 },
        volumeMounts: [{ name: "config", mountPath: "/etc/coredns", readOnly: true }],
        securityContext: { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true },
      },
    ],
    volumes: [{ name: "config", configMap: { name: "coredns" } }],
  };
}

export const addons: readonly Applied[] = [...access, ...dns];
