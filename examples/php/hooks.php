<?php

/**
 * The hooks of a host application. The chat runs this file by FastCGI in the host's own php-fpm, or over HTTP:
 *
 *     WEBHOOK_URL=fcgi://unix:/run/php/php-fpm.sock/srv/app/examples/php/hooks.php
 *     MESSAGE_CHECK_URL=fcgi://unix:/run/php/php-fpm.sock/srv/app/examples/php/hooks.php
 *     SESSION_CHECK_URL=fcgi://unix:/run/php/php-fpm.sock/srv/app/examples/php/hooks.php
 *
 * env[WEBHOOK_SECRET] and env[EVENTS_FILE] in the pool of php-fpm are known here by getenv.
 */

declare(strict_types=1);

/** @return array<string, mixed> what the chat sent, if its signature is right and not old */
function verified(): array
{
    $body = file_get_contents('php://input');
    parse_str(strtr($_SERVER['HTTP_X_CHAT_SIGNATURE'] ?? '', ',', '&'), $parts);
    $signed = hash_hmac('sha256', ($parts['t'] ?? '') . '.' . $body, getenv('WEBHOOK_SECRET') ?: '');
    if (!hash_equals($signed, $parts['v1'] ?? '') || abs(time() - (int) $parts['t']) > 300) {
        http_response_code(403);
        exit;
    }
    return json_decode($body, true, flags: JSON_THROW_ON_ERROR);
}

/** @param array<string, mixed> $message */
function verdict(array $message): array
{
    // A user who comes into a room has neither a text nor a name.
    if (str_contains($message['Content'] ?? $message['Name'] ?? '', 'forbidden')) {
        return ['ID' => $message['ID'], 'Action' => 'reject', 'Reason' => 'mind your words'];
    }
    return ['ID' => $message['ID'], 'Action' => 'allow'];
}

$event = verified();
if ($event['Event'] === 'session.check') {
    // The cookies are those of the browser, so this is its session. It is not locked: the user's pages go on.
    session_start(['read_and_close' => true, 'use_strict_mode' => true]);
    header('Content-Type: application/json');
    exit(json_encode(['User' => $_SESSION['user'] ?? null, 'Name' => $_SESSION['name'] ?? null], JSON_THROW_ON_ERROR));
}
if ($event['Event'] === 'message.check') {
    header('Content-Type: application/json');
    exit(json_encode(['Verdicts' => array_map(verdict(...), $event['Messages'])], JSON_THROW_ON_ERROR));
}
// An event may come twice: its ID is the same then.
file_put_contents(getenv('EVENTS_FILE'), json_encode($event) . "\n", FILE_APPEND | LOCK_EX);
http_response_code(204);
