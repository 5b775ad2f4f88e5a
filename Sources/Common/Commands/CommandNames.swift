public import ArgumentParser

extension MasterProgram where Self: ParsableCommand {
    /// What `main` does; but a word that names no command is refused as such. The parser itself would take it for an
    /// argument and complain of the option behind it.
    public static func runProgram() {
        var words = Array(CommandLine.arguments.dropFirst())
        // A command may be linked to as a program of its own: chat-setup is `fcgi-api setup`.
        let called = CommandLine.arguments.first?.split(separator: "/").last ?? ""
        let names = configuration.subcommands.map { $0._commandName }
        if let name = names.first(where: { called == "chat-\($0)" }) { words.insert(name, at: 0) }
        if let problem = unknownCommand(in: words[...], of: Self.self, named: [program]) {
            exit(withError: ValidationError(problem))
        }
        main(words)
    }
}

/// A sentence for a word that stands where a command's name is expected and is none; nil when all are.
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
