import { describe, expect, it } from "vitest";
import { systemdUnit } from "./systemd-unit.ts";

const unit = (command: readonly string[]) =>
  systemdUnit({ description: "cart", user: "cart", workingDirectory: "/srv", command, stopSeconds: 30 });

describe("a systemd unit", () => {
  it("starts the program again whenever it ends, and leaves the order of the end to it", () => {
    expect(unit(["/usr/bin/node", "/opt/isthmus.js", "run"])).toBe(`[Unit]
Description=cart
Wants=network-online.target
After=network-online.target

[Service]
User=cart
WorkingDirectory=/srv
ExecStart=/usr/bin/node /opt/isthmus.js run
Restart=always
RestartSec=1
KillMode=mixed
TimeoutStopSec=30
NoNewPrivileges=yes

[Install]
WantedBy=multi-user.target
`);
  });

  it.each([
    { word: "a b", written: '"a b"' },
    { word: "", written: '""' },
    { word: "100%", written: "100%%" },
    { word: "$HOME", written: "$$HOME" },
    { word: 'say "hi"\\', written: '"say \\"hi\\"\\\\"' },
    { word: "a;b", written: '"a;b"' },
  ])("writes $word so that systemd reads it as it is", ({ word, written }) => {
    expect(unit(["/bin/echo", word])).toContain(`ExecStart=/bin/echo ${written}\n`);
  });
});
