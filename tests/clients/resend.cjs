// Resend's npm package, driven by tests/foreign_clients.py: each line of standard input is a call, each line of output its answer.
//
//     node resend.cjs <base URL> <API key>
//     ["emails.send", {"from": …}, {"idempotencyKey": …}]  →  {"data": …, "error": …, "headers": …}
//
// {"$octets": "<base64>"} in a call stands for a Buffer.
const { createInterface } = require("node:readline");
const { Resend } = require("resend");

const [baseUrl, key] = process.argv.slice(2);
const resend = new Resend(key, { baseUrl });

const revive = (_, value) => (value?.$octets === undefined ? value : Buffer.from(value.$octets, "base64"));

createInterface({ input: process.stdin }).on("line", async (line) => {
  const [name, ...words] = JSON.parse(line, revive);
  const rooms = name.split(".");
  const method = rooms.pop();
  const room = rooms.reduce((object, part) => object[part], resend);
  console.log(JSON.stringify(await room[method](...words)));
});
