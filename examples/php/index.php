<?php

/**
 * A host application in PHP: users with whole numbers as ids, PHP's own session, the chat's tokens by clients/php.
 *
 * nginx passes every address to this file and sets CHAT_URL and JWT_SECRET (fastcgi_param); see README.md.
 */

declare(strict_types=1);

require __DIR__ . '/../../clients/php/autoload.php';

use Chat\{ChatException, Client, Tokens};

// The table of users: name, id and the hash of a password.
const USERS = [
    'alice' => [1, '$2y$04$aZJ/a6biS0zadweT07JVAOfqxZncWjgURfCw5o1NnaOoW01kdIyni'],
    'bob' => [2, '$2y$04$RrgX/oymx6tEJqMnNNEkseR0hPDmeBi/axgjoK7dFIiqCRLJNM.KS'],
    'carol' => [3, '$2y$04$vv769ISDLjtO5lFFkRoyaeZwpzGJg.bA3Y0GUEz6knkbgiqiy7Ecm'],
];

function answer(int $status, mixed $body): never
{
    http_response_code($status);
    header('Content-Type: application/json');
    header('Cache-Control: no-store');
    exit(json_encode($body, JSON_THROW_ON_ERROR));
}

/** The chat as one of our users: their number is their name there. */
function chat(int $user): Client
{
    $tokens = new Tokens($_SERVER['JWT_SECRET']);
    return Client::forUser($_SERVER['CHAT_URL'], $tokens->issue((string) $user, 3600));
}

/** @return array<string, mixed> */
function body(): array
{
    $body = json_decode(file_get_contents('php://input', length: 65536) ?: '{}', true);
    return is_array($body) ? $body : answer(400, ['error' => 'the request is not JSON']);
}

function login(): never
{
    ['username' => $name, 'password' => $password] = body() + ['username' => '', 'password' => ''];
    [$id, $hash] = (is_string($name) ? USERS[$name] ?? null : null) ?? [0, '$2y$04$'];
    if (!is_string($password) || !password_verify($password, $hash)) {
        answer(403, ['error' => 'wrong name or password']);
    }
    // A session that somebody else began is not taken over.
    session_regenerate_id(true);
    [$_SESSION['user'], $_SESSION['name']] = [$id, ucfirst($name)];
    answer(200, ['id' => $id]);
}

/** @return array<string, mixed> */
function room(int $user): array
{
    ['name' => $name, 'members' => $members] = body() + ['name' => '', 'members' => []];
    $numbers = array_filter((array) $members, is_int(...));
    if ($numbers === []) {
        answer(400, ['error' => 'members is a list of ids']);
    }
    return chat($user)->post('/rooms', ['Type' => 'GROUP', 'Name' => $name, 'Members' => array_map(strval(...), array_values($numbers))]);
}

if ($_SERVER['REQUEST_METHOD'] !== 'POST') {
    answer(405, ['error' => 'POST']);
}
session_start(['cookie_httponly' => true, 'cookie_samesite' => 'Strict', 'use_strict_mode' => true]);
$page = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
$user = $_SESSION['user'] ?? null;
if ($page !== '/login' && $user === null) {
    answer(403, ['error' => 'log in first']);
}
try {
    match ($page) {
        '/login' => login(),
        '/logout' => answer(200, ['id' => session_destroy() ? null : $user]),
        // For new WebSocket(`${chat}/ws/v1/chat?ticket=${Ticket}`): the token itself never reaches the page.
        '/chat/ticket' => answer(200, chat($user)->ticket()),
        '/chat/rooms' => answer(200, room($user)),
        default => answer(404, ['error' => 'there is no such page']),
    };
} catch (ChatException $error) {
    answer($error->status ?: 503, ['error' => $error->getMessage()]);
}
