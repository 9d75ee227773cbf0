// An RP2040 of npm's rp2040js whose UART0 is a TCP port of this computer: node pico.mjs RP2040JS FLASH.bin
//
// RP2040JS is the folder of the package, FLASH.bin what lies at 0x10000000. There is no boot ROM and no second boot
// loader: the core starts from the vectors there, as both leave it. Prints the port, and ends with its standard input.
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [folder, file] = process.argv.slice(2);
const { RP2040, LogLevel, ConsoleLogger } = await import(pathToFileURL(join(folder, "dist", "esm", "index.js")).href);

const FLASH = 0x10000000;
const BAUD = 115200;
const UART_AT_PIN = 2; // FUNCSEL
const FIFO = 32; // bytes that the UART holds
const EACH = 32; // instructions between two looks at the link
const TURN = 4096; // looks between two turns of node's own
const NANOSECONDS = 1e9 / 12e6; // of a cycle

const chip = new RP2040();
chip.logger = new ConsoleLogger(LogLevel.Error, true);
const uart = chip.uart[0];
const image = readFileSync(file);
const inbox = []; // bytes that wait for room in the UART
let outbox = []; // what it sent since node's last turn
let peer = null;

function refuse(what) {
  process.stderr.write(`${what}\n`);
  process.exit(1);
}

// What a cable would tell by silence, or by noise.
chip.onBreak = (code) => refuse(`breakpoint ${code} at 0x${chip.core.PC.toString(16)}`);
uart.onByte = (value) => {
  if (!uart.enabled || !uart.txEnabled || uart.wordLength !== 8) refuse("the UART is off, or sends no bytes");
  if (Math.abs(uart.baudRate / BAUD - 1) > 0.02) refuse(`the UART sends ${uart.baudRate} baud`);
  if ([0, 1].some((i) => chip.gpio[i].functionSelect !== UART_AT_PIN)) refuse("GP0 and GP1 are not the UART's");
  outbox.push(value);
};

function turn() {
  for (let i = 0; i < TURN; i++) {
    while (inbox.length > 0 && uart.rxFIFO.itemCount < FIFO / 2) uart.feedByte(inbox.shift());
    for (let k = 0; k < EACH; k++) chip.clock.tick(chip.core.executeInstruction() * NANOSECONDS);
  }
  if (outbox.length > 0 && peer !== null) peer.write(Buffer.from(outbox));
  outbox = [];
  setImmediate(turn);
}

const server = createServer((socket) => {
  peer = socket;
  socket.setNoDelay(true);
  socket.on("data", (bytes) => inbox.push(...bytes));
  socket.on("error", () => {});
  socket.on("close", () => {
    peer = null;
  });
});
server.listen(0, "127.0.0.1", () => process.stdout.write(`${server.address().port}\n`));
process.stdin.on("end", () => process.exit(0)).resume();
chip.flash.set(image);
chip.core.VTOR = FLASH;
chip.core.reset();
turn();
