// Certificates of one test cluster: made in memory with WebCrypto, P-256, so that three clusters' worth takes no time.
// Only for test clusters; the fleet's own trust is in shared/pki and hub/ca.
import "reflect-metadata";
import * as x509 from "@peculiar/x509";
import { generateKeyPair, webcrypto } from "node:crypto";
import { promisify } from "node:util";

const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
const DAY_MS = 86_400_000;
/** Longer than any fleet is kept up; a cluster that outlives it is brought up anew. */
const LIFETIME_MS = 365 * DAY_MS;
const BACKDATED_MS = 3_600_000;

export interface KeyPair {
  readonly keyPem: string;
  readonly certPem: string;
}

export interface ClusterPki {
  readonly caPem: string;
  readonly apiserver: KeyPair;
  readonly apiserverToKubelet: KeyPair;
  readonly node: KeyPair;
  readonly controllerManager: KeyPair;
  readonly scheduler: KeyPair;
  readonly proxy: KeyPair;
  readonly admin: KeyPair;
  readonly frontProxyCaPem: string;
  readonly frontProxy: KeyPair;
  readonly serviceAccountKeyPem: string;
  readonly serviceAccountPublicPem: string;
}

interface Authority {
  readonly certificate: x509.X509Certificate;
  readonly keys: webcrypto.CryptoKeyPair;
}

interface Subject {
  readonly commonName: string;
  readonly organization?: string;
  readonly dns?: readonly string[];
  readonly ips?: readonly string[];
}

const validity = () => ({
  notBefore: new Date(Date.now() - BACKDATED_MS),
  notAfter: new Date(Date.now() + LIFETIME_MS),
});

const newKeys = () => webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);

async function authority(commonName: string): Promise<Authority> {
  const keys = await newKeys();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: [{ CN: [commonName] }],
    ...validity(),
    keys,
    signingAlgorithm: algorithm,
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { certificate, keys };
}

async function issue(issuer: Authority, subject: Subject): Promise<KeyPair> {
  const keys = await newKeys();
  const names = [
    ...(subject.dns ?? []).map((value) => ({ type: "dns" as const, value })),
    ...(subject.ips ?? []).map((value) => ({ type: "ip" as const, value })),
  ];
  const certificate = await x509.X509CertificateGenerator.create({
    subject: [{ CN: [subject.commonName] }, ...(subject.organization ? [{ O: [subject.organization] }] : [])],
    issuer: issuer.certificate.subject,
    ...validity(),
    publicKey: keys.publicKey,
    signingKey: issuer.keys.privateKey,
    signingAlgorithm: algorithm,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth]),
      await x509.AuthorityKeyIdentifierExtension.create(issuer.keys.publicKey),
      ...(names.length > 0 ? [new x509.SubjectAlternativeNameExtension(names)] : []),
    ],
  });
  const key = await webcrypto.subtle.exportKey("pkcs8", keys.privateKey);
  return { keyPem: x509.PemConverter.encode(key, "PRIVATE KEY"), certPem: certificate.toString("pem") };
}

/** Of an application that has TLS of its own, with the authority that its callers trust. */
export async function makeServerPair(dns: string): Promise<KeyPair & { readonly caPem: string }> {
  const ca = await authority(`authority of ${dns}`);
  return { ...(await issue(ca, { commonName: dns, dns: [dns] })), caPem: ca.certificate.toString("pem") };
}

export interface PkiSubject {
  readonly cluster: string;
  readonly nodeName: string;
  readonly nodeAddress: string;
  readonly serviceAddress: string;
}

export async function makeClusterPki(subject: PkiSubject): Promise<ClusterPki> {
  const { cluster, nodeName, nodeAddress, serviceAddress } = subject;
  const ca = await authority(`kubernetes-${cluster}`);
  const frontProxyCa = await authority(`front-proxy-${cluster}`);
  const masters = "system:masters";
  const service = "kubernetes.default.svc";
  const apiNames = ["kubernetes", "kubernetes.default", service, `${service}.cluster.local`, "localhost"];
  const [apiserver, apiserverToKubelet, node, controllerManager, scheduler, proxy, admin, frontProxy] =
    await Promise.all([
      issue(ca, { commonName: "kube-apiserver", dns: apiNames, ips: [nodeAddress, serviceAddress, "127.0.0.1"] }),
      issue(ca, { commonName: "kube-apiserver-kubelet-client", organization: masters }),
      issue(ca, {
        commonName: `system:node:${nodeName}`,
        organization: "system:nodes",
        dns: [nodeName],
        ips: [nodeAddress],
      }),
      issue(ca, { commonName: "system:kube-controller-manager" }),
      issue(ca, { commonName: "system:kube-scheduler" }),
      issue(ca, { commonName: "system:kube-proxy" }),
      issue(ca, { commonName: `${cluster}-admin`, organization: masters }),
      issue(frontProxyCa, { commonName: "front-proxy-client" }),
    ]);
  // RS256 is what clients of service-account tokens expect by default, so this one key is RSA
  const serviceAccount = await promisify(generateKeyPair)("rsa", {
    modulusLength: 2048,
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
    publicKeyEncoding: { type: "spki", format: "pem" },
  });
  return {
    caPem: ca.certificate.toString("pem"),
    apiserver,
    apiserverToKubelet,
    node,
    controllerManager,
    scheduler,
    proxy,
    admin,
    frontProxyCaPem: frontProxyCa.certificate.toString("pem"),
    frontProxy,
    serviceAccountKeyPem: serviceAccount.privateKey,
    serviceAccountPublicPem: serviceAccount.publicKey,
  };
}
