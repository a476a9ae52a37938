/** What all pages share: head, navigation, the line that says what was done, foot. Pure; never fails. */
import { duration, zone } from './figures.ts';
import type { Markup, Piece } from './markup.ts';
import { markup } from './markup.ts';
import type { Flash } from './sessions.ts';

export interface Frame {
  /** Of the window. */
  readonly title: string;
  readonly section: 'overview' | 'messages' | 'pickups';
  readonly user: string;
  readonly formToken: string;
  readonly flash?: Flash;
  readonly gateway: string;
  readonly version: string;
  readonly startedAt: number;
  readonly now: number;
  /** There are pickups. */
  readonly hasPickups: boolean;
}

/** The field of every form that changes something. */
export function formTokenField(formToken: string): Markup {
  return markup`<input type="hidden" name="formToken" value="${formToken}">`;
}

function head(title: string): Markup {
  return markup`<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<title>${title} · smtp2exchange</title>
<link rel="icon" href="/assets/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/assets/console.css">
<script src="/assets/console.js" defer></script>
</head>`;
}

export function framed(frame: Frame, content: Piece): Markup {
  const { title, section, user, formToken, flash, gateway, version, startedAt, now, hasPickups } = frame;
  const link = (name: Frame['section'], to: string, text: string): Markup =>
    name === section
      ? markup`<li><a href="${to}" aria-current="page">${text}</a></li>`
      : markup`<li><a href="${to}">${text}</a></li>`;
  return markup`<!doctype html>
<html lang="en">
${head(title)}
<body>
<a class="skip" href="#content">Skip to content</a>
<header class="top">
  <a class="brand" href="/" aria-label="smtp2exchange, overview"><span class="brand-mark" aria-hidden="true"></span><span>smtp2exchange</span></a>
  <nav aria-label="Main"><ul>
    ${link('overview', '/', 'Overview')}
    ${link('messages', '/messages', 'Messages')}
    ${hasPickups && link('pickups', '/pickups', 'Pickups')}
  </ul></nav>
  <form class="logout" method="post" action="/logout">${formTokenField(formToken)}<span class="quiet" id="user">${user}</span> <button class="button-quiet" id="logout">Log out</button></form>
</header>
<main id="content" tabindex="-1">
${flash !== undefined && markup`<p class="flash flash-${flash.kind}" id="flash" role="${flash.kind === 'done' ? 'status' : 'alert'}">${flash.text}</p>`}
${content}
</main>
<footer class="foot quiet">
  <span>${gateway}</span> <span>version ${version}</span> <span>up for ${duration((now - startedAt) / 1000)}</span> <span>times in ${zone(now)}</span>
</footer>
</body>
</html>
`;
}

export interface LoginPage {
  readonly hasUsers: boolean;
  readonly hasToken: boolean;
  readonly gateway: string;
  /** Why the last attempt did not succeed. */
  readonly problem?: string;
  /** Where to go then: a path of ours. */
  readonly next: string;
  readonly user?: string;
}

export function loginPage({ hasUsers, hasToken, gateway, problem, next, user = '' }: LoginPage): Markup {
  const wrong = problem === undefined ? undefined : markup` aria-describedby="login-problem" aria-invalid="true"`;
  const name = markup`<label for="login-name">User name</label>
  <input id="login-name" name="user" value="${user}" autocomplete="username" autocapitalize="none" spellcheck="false"${wrong} autofocus>
  ${hasToken && markup`<p class="hint" id="login-hint">Leave it empty to log in with the token.</p>`}`;
  const word = hasUsers ? (hasToken ? 'Password or token' : 'Password') : 'Token';
  return markup`<!doctype html>
<html lang="en">
${head('Log in')}
<body class="login-page">
<main id="content">
<form class="login" method="post" action="/login">
  <h1><span class="brand-mark" aria-hidden="true"></span> smtp2exchange</h1>
  <p class="quiet">Console of ${gateway}</p>
  ${problem !== undefined && markup`<p class="flash flash-failed" id="login-problem" role="alert">${problem}</p>`}
  ${hasUsers ? name : markup`<input class="visually-hidden" autocomplete="username" value="token" tabindex="-1" aria-hidden="true" readonly>`}
  <label for="login-secret">${word}</label>
  <input id="login-secret" type="password" name="secret" autocomplete="current-password" required${wrong}${!hasUsers && markup` autofocus`}>
  <input type="hidden" name="next" value="${next}">
  <button id="login" class="button-main">Log in</button>
</form>
</main>
</body>
</html>
`;
}

/** A page with one sentence: what is not there, or not allowed. */
export function noticePage(title: string, text: string): Markup {
  return markup`<!doctype html>
<html lang="en">
${head(title)}
<body class="login-page">
<main id="content"><div class="login"><h1>${title}</h1><p>${text}</p><p><a href="/">Overview</a></p></div></main>
</body>
</html>
`;
}
