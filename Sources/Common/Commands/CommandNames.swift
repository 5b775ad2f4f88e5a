public import ArgumentParser
import ChatProcess

extension MasterProgram where Self: ParsableCommand {
    /// Like `main`, but reports an unknown command as such. The parser itself would take the word for an argument and
    /// complain about the option after it.
    public static func runProgram() {
        StandardFiles.open()
        var words = Array(CommandLine.arguments.dropFirst())
        // A link to the program may carry a command's name: chat-setup is `fcgi-api setup`.
        let called = CommandLine.arguments.first?.split(separator: "/").last ?? ""
        let names = configuration.subcommands.map { $0._commandName }
        if let name = names.first(where: { called == "chat-\($0)" }) { words.insert(name, at: 0) }
        // The same short options as in php-fpm.
        if words.first == "-t" || words.first == "-tt" { words.insert("serve", at: 0) }
        if let word = words.first, word == "-c" || word == "--config" || word.hasPrefix("--config=") {
            exit(withError: ValidationError("a command comes first: \(program) serve -c FILE"))
        }
        if let problem = unknownCommand(in: words[...], of: Self.self, named: [program]) {
            exit(withError: ValidationError(problem))
        }
        do {
            var command = try parseAsRoot(words)
            try command.run()
        } catch {
            exit(withError: error)
        }
        // Also `status > /dev/full`: whoever reads the exit code believes that the output is complete.
        guard StandardFiles.flush() else {
            exit(withError: OperatorError("cannot write everything to the standard output"))
        }
    }
}

/// A sentence about the first word that should be a command's name but is not; nil when all are known.
func unknownCommand(in words: ArraySlice<String>, of command: any ParsableCommand.Type, named path: [String]) -> String?
{
    let commands = command.configuration.subcommands
    guard !commands.isEmpty, let word = words.first, !word.hasPrefix("-"), word != "help" else { return nil }
    if let next = commands.first(where: { $0._commandName == word }) {
        return unknownCommand(in: words.dropFirst(), of: next, named: path + [word])
    }
    let known = commands.filter { $0.configuration.shouldDisplay }.map { $0._commandName }
    return "unknown command '\(word)': \(path.joined(separator: " ")) has \(known.joined(separator: ", "))"
}
