<?php
// For applications without Composer: require this file, then use the classes of namespace Chat.

declare(strict_types=1);

spl_autoload_register(static function (string $class): void {
    if (str_starts_with($class, 'Chat\\')) {
        $file = __DIR__ . '/src/' . substr($class, 5) . '.php';
        if (preg_match('/^Chat\\\\[A-Za-z]+$/', $class) && is_file($file)) {
            require $file;
        }
    }
});
