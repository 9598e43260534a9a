// Images of `scripts/images`, made of the programs under test: contents, and a call under runc.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { Client, account, guest, newCall } from "../support/clients.mjs";
import { PROGRAMS, freePort } from "../support/programs.mjs";
import { Container, runcMissing, unpack } from "../support/runc.mjs";
import { until } from "../support/until.mjs";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const NAMES = ["api", "signal-node"];

/** Paths of all files in a folder that `accept` accepts, relative to it. */
const filesIn = (folder, accept) =>
  readdirSync(folder, { recursive: true }).filter((path) => accept(statSync(join(folder, path), { throwIfNoEntry: false })));

describe("images", { timeout: 240_000 }, () => {
  const folder = mkdtempSync(join(tmpdir(), "images-"));
  const images = {};
  const folders = join(folder, "folders");
  const make = (out, ...more) => execFileSync(join(ROOT, "scripts/images"), ["--programs", PROGRAMS, "--out", out, ...more], { encoding: "utf8" });

  before(() => {
    make(folder);
    for (const name of NAMES) images[name] = unpack(join(folder, `${name}.tar`), join(folder, name));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  test("the same programs give the same digests", () => {
    const printed = make(join(folder, "again"), "--folders", folders);
    for (const name of NAMES) assert.ok(printed.includes(images[name].digest), `${name} has another digest: ${printed}`);
  });

  test("the folders of which the Dockerfile makes its images have the same files", () => {
    for (const name of NAMES) {
      const root = join(folder, name, "rootfs");
      const files = (at) => filesIn(at, (stat) => stat?.isFile()).map((path) => [path, statSync(join(at, path)).mode & 0o777]);
      const written = ["base", name].flatMap((layer) => files(join(folders, layer)));
      assert.deepEqual(written.sort(), files(root).sort());
      for (const layer of ["base", name])
        for (const [path] of files(join(folders, layer))) assert.ok(readFileSync(join(folders, layer, path)).equals(readFileSync(join(root, path))), path);
    }
  });

  test("an image has one program, its libraries, no shell, and nothing that its user may write", () => {
    for (const name of NAMES) {
      const root = join(folder, name, "rootfs");
      const executable = filesIn(root, (stat) => stat?.isFile() && stat.mode & 0o111).filter((path) => !path.includes(".so"));
      assert.deepEqual(executable, [`usr/local/bin/${name}`]);
      assert.deepEqual(filesIn(root, (stat) => stat?.uid !== 0 || (stat.mode & 0o022) !== 0), []);
      const { User, Labels } = images[name].config;
      assert.equal(User, "65532:65532");
      for (const label of ["title", "description", "licenses", "version", "revision", "created"])
        assert.ok(Labels[`org.opencontainers.image.${label}`], `${name} lacks the label ${label}`);
    }
    for (const file of ["index.html.br", "vendor/switchboard.js"]) assert.ok(existsSync(join(folder, "api/rootfs/srv/web", file)), file);
    assert.equal(existsSync(join(folder, "api/rootfs/srv/web/build.mjs")), false, "the image has the page, not its source");
  });

  test("the bill of materials names the program by its digest, and its crates, packages and libraries", () => {
    const listed = ["pkg:cargo/tokio@", "pkg:cargo/switchboard-core@", "pkg:deb/debian/libc6@", "pkg:deb/debian/ca-certificates@"];
    for (const [name, more] of [["api", ["pkg:npm/socket.io-client@", "pkg:npm/lean-qr@", "pkg:cargo/mongodb@"]], ["signal-node", ["pkg:cargo/tokio-tungstenite@"]]]) {
      const root = join(folder, name, "rootfs");
      const bill = JSON.parse(readFileSync(join(root, `usr/share/sbom/${name}.spdx.json`)));
      const places = bill.packages.flatMap((it) => it.externalRefs.map((reference) => reference.referenceLocator));
      for (const start of [...listed, ...more]) assert.equal(places.filter((place) => place.startsWith(start)).length, 1, `${name}: ${start}`);
      for (const absent of ["pkg:cargo/proptest@", "pkg:cargo/tempfile@", "pkg:npm/typescript@", "pkg:npm/esbuild@"])
        assert.ok(!places.some((place) => place.startsWith(absent)), `${name}: ${absent} is only for tests and builds`);
      const ids = bill.packages.map((it) => it.SPDXID);
      assert.equal(new Set(ids).size, ids.length, "two packages have one id");
      for (const { relatedSpdxElement } of bill.relationships) assert.ok(ids.includes(relatedSpdxElement), relatedSpdxElement);
      const program = createHash("sha256").update(readFileSync(join(root, `usr/local/bin/${name}`))).digest("hex");
      assert.equal(bill.packages.find((it) => it.name === `switchboard-${name}`).checksums[0].checksumValue, program);
    }
  });

  test("a call goes through both images as user 65532 with a read-only root", { skip: runcMissing }, async (t) => {
    const secrets = ["JWT_ACCESS_SECRET", "JWT_REFRESH_SECRET"].map((name) => [name, randomBytes(32).toString("hex")]);
    const database = new URL(process.env.MONGODB_URI);
    database.pathname = "/images";
    const [api, node, apiMetrics, nodeMetrics, internal] = await Promise.all(Array.from({ length: 5 }, freePort));
    const [apiUrl, nodeUrl] = [api, node].map((port) => `http://127.0.0.1:${port}`);
    const shared = {
      ...Object.fromEntries(secrets),
      REDIS_URL: process.env.REDIS_URL,
      REDIS_PREFIX: "images",
      MONGODB_URI: database.href,
      FRONTEND_URL: apiUrl,
      BIND_ADDRESS: "127.0.0.1",
    };
    const own = {
      api: { API_PORT: api, METRICS_PORT: apiMetrics, WEB_DIR: "/srv/web" },
      "signal-node": { SIGNALING_PORT: node, METRICS_PORT: nodeMetrics, INTERNAL_PORT: internal, NODE_ID: "of-an-image" },
    };
    const containers = NAMES.map((name) => new Container(join(folder, name), images[name], { ...shared, ...own[name] }));
    t.after(() => containers.forEach((container) => container.remove()));
    for (const [index, port] of [apiMetrics, nodeMetrics].entries()) {
      await until(`${NAMES[index]} is ready`, async () => {
        assert.equal(containers[index].exitCode, null, containers[index].output);
        return (await fetch(`http://127.0.0.1:${port}/readyz`).catch(() => undefined))?.ok;
      });
    }

    const { BASE_URL } = process.env;
    process.env.BASE_URL = apiUrl;
    t.after(() => (process.env.BASE_URL = BASE_URL));
    assert.match(await (await fetch(apiUrl)).text(), /<html/);
    const { roomId } = await newCall(await account("Host of an image"));
    const seats = ["Caller", "Callee"].map(async (name) => Client.seated(nodeUrl, roomId, await guest(roomId, name)));
    const [caller, callee] = await Promise.all(seats);
    t.after(() => [caller, callee].forEach((client) => client.close()));
    const offer = { type: "offer", sdp: "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\n" };
    const answer = await caller.emit("webrtc:offer", { to: callee.peerId, offer });
    assert.equal(answer.success, true, JSON.stringify(answer));
    const received = await callee.event("webrtc:offer", ({ from }) => from === caller.peerId);
    assert.deepEqual(received.offer, offer);
    for (const client of [caller, callee]) client.close();

    for (const [index, container] of containers.entries()) assert.equal(await container.stop(), 0, `${NAMES[index]}: ${container.output}`);
  });
});
