/** Mail that tries everything on whoever looks at it: to run a script, to reach out, to lie about what it is. */
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';

/** A listener that nothing may ever connect to. */
export interface Trap {
  readonly port: number;
  /** What connected all the same: the first octets of each. */
  readonly caught: readonly string[];
  close(): Promise<void>;
}

export async function openTrap(): Promise<Trap> {
  const caught: string[] = [];
  const server = createServer((socket) => {
    const at = caught.push('the trap caught a connection') - 1;
    socket.on('error', () => undefined);
    socket.once('data', (octets: Buffer) => {
      const [line = ''] = octets.toString('latin1').split('\r\n', 1);
      caught[at] = `the trap caught ${line.replace(/[^ -~]/g, '.').slice(0, 200)}`;
      socket.end('HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\nAccess-Control-Allow-Origin: *\r\n\r\n');
    });
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  return {
    port: (server.address() as AddressInfo).port,
    caught,
    close: () => new Promise((closed) => server.close(() => closed())),
  };
}

const encoded = (text: string): string => `=?utf-8?B?${Buffer.from(text).toString('base64')}?=`;

/** Shown as `exe.gnp` by whoever follows the mark: RIGHT-TO-LEFT OVERRIDE, with controls and markup around it. */
export const SUBJECT =
  'Invoice \u202Egnp.exe\u202C <script>alert("subject")</script> \u0007\u001b[31m\u2066 "\'><img src=x onerror=alert(1)>';
export const FILE_NAME = 'invoice\u202Efdp.exe"><img src=x onerror=alert(2)>';

/** @param port of the trap: reached by address and by any name */
export function hostileHtml(port: number): string {
  const away = `http://127.0.0.1:${port}`;
  const named = `http://pixel.evil.example:${port}`;
  const act = 'alert(document.domain);top.location=`javascript:alert(3)`';
  return `<!doctype html><html><head>
<meta http-equiv="refresh" content="0;url=${away}/refresh">
<meta http-equiv="Content-Security-Policy" content="default-src * 'unsafe-inline'">
<base href="${away}/base/">
<link rel="stylesheet" href="${away}/style.css"><link rel="preconnect" href="${named}"><link rel="dns-prefetch" href="${named}">
<link rel="prefetch" href="${away}/prefetch"><link rel="preload" as="image" href="${away}/preload"><link rel="icon" href="${away}/icon">
<link rel="modulepreload" href="${away}/module.js"><link rel="prerender" href="${away}/prerender">
<script>${act}</script><script src="${away}/script.js"></script><script type="module">import '${away}/module.js'</script>
<script type="speculationrules">{"prefetch":[{"source":"list","urls":["${away}/speculation"]}]}</script>
<style>@import url(${away}/import.css); @font-face { font-family: x; src: url(${away}/font.woff2) }
body { background: url(${away}/background.png); font-family: x; cursor: url(${away}/cursor.cur), auto }
p::before { content: url(${named}/content.png) } .cover { position: fixed; inset: 0; z-index: 99999; background: #fff }</style>
</head><body background="${away}/body.png" onload="${act}" onpageshow="${act}">
<p id="harmless">Dear customer, the words of this mail are shown.</p>
<img src="${away}/pixel.png" srcset="${named}/pixel-2.png 2x" onerror="${act}"><img src=x onerror=${act}>
<img src="data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' onload='alert(4)'%3E%3Cimage href='${away}/svg-image'/%3E%3C/svg%3E">
<picture><source srcset="${away}/source.png"><img alt="x" src="${away}/picture.png"></picture>
<svg onload="${act}"><script>${act}</script><image href="${away}/svg.png"></image><use href="${away}/use.svg#x"></use><animate onbegin="${act}" attributeName="x"></animate><foreignObject><iframe src="${away}/foreign"></iframe></foreignObject></svg>
<math><mtext><mglyph><style><img src=x onerror="${act}"></style></mglyph></mtext></math>
<iframe src="${away}/frame"></iframe><iframe srcdoc="<script>${act}</script><img src=${away}/srcdoc.png>"></iframe><iframe src="javascript:alert(5)"></iframe>
<object data="${away}/object"></object><embed src="${away}/embed"><applet code="${away}/applet"></applet><portal src="${away}/portal"></portal>
<video src="${away}/video.mp4" poster="${away}/poster.png" autoplay></video><audio src="${away}/audio.mp3" autoplay></audio><track src="${away}/track">
<form action="${away}/form" method="post"><input name="password" value="x" autofocus onfocus="${act}"><button formaction="javascript:alert(6)">Log in again</button></form>
<form action="/acts" method="post"><input name="act" value="drop"><button>Drop</button></form>
<a href="javascript:${act}" id="script-link">a link that is a script</a> <a href="${away}/link" ping="${away}/ping" target="_top" id="away-link">a link to elsewhere</a> <a href="${away}/self" id="self-link">a link in the frame</a>
<a href="data:text/html,<script>alert(7)</script>" target="_top">a link to data</a>
<details open ontoggle="${act}"><summary>x</summary></details><marquee onstart="${act}">x</marquee><div style="background:url(${away}/inline.png)" onmouseover="${act}">hover</div>
<table background="${away}/table.png"><tr><td background="${away}/cell.png">x</td></tr></table>
<noscript><img src="${away}/noscript.png"></noscript><template><img src="${away}/template.png"></template>
<!--[if IE]><img src="${away}/conditional.png"><![endif]--><img src="\`\`onerror=alert(8)"><img src="//127.0.0.1:${port}/no-scheme.png">
</title></style></textarea></script></iframe></noscript><script>${act}</script><p>the end</p></body></html>`;
}

/** A message with CRLF, as it goes after DATA. The names are hostile, the addresses in its header are these. */
export function hostileMail(port: number, { from, to }: { readonly from: string; readonly to: string }): string {
  const html = Buffer.from(hostileHtml(port)).toString('base64').replace(/.{76}/g, '$&\r\n');
  return [
    `From: ${encoded('Your Bank <script>alert("from")</script> \u202Ekcatta')} <${from}>`,
    `To: ${encoded('"><svg onload=alert(9)>\u200B')} <${to}>`,
    `Subject: ${encoded(SUBJECT.slice(0, 30))}\r\n ${encoded(SUBJECT.slice(30, 60))}\r\n ${encoded(SUBJECT.slice(60))}`,
    'Message-ID: <a"onmouseover="alert(10)&lt;@evil.example>',
    'MIME-Version: 1.0',
    'Content-Type: multipart/mixed; boundary="part"',
    '',
    '--part',
    'Content-Type: multipart/alternative; boundary="inner"',
    '',
    '--inner',
    'Content-Type: text/plain; charset=utf-8',
    'Content-Transfer-Encoding: base64',
    '',
    Buffer.from(
      'Plain </pre><script>alert(11)</script> text \u202Eesrever\u202C\u0000\u0008 and \u001b]0;title\u0007 end',
    ).toString('base64'),
    '--inner',
    'Content-Type: text/html; charset=utf-8',
    'Content-Transfer-Encoding: base64',
    '',
    html,
    '--inner--',
    '--part',
    'Content-Type: text/html; name="x.html"',
    `Content-Disposition: attachment; filename*=utf-8''${encodeURIComponent(FILE_NAME)}`,
    '',
    '<script>alert(12)</script>',
    '--part',
    'Content-Type: application/x-"><script>alert(13)</script>',
    `Content-Disposition: attachment; filename="../../etc/passwd"`,
    '',
    'x',
    '--part--',
    '',
  ].join('\r\n');
}
