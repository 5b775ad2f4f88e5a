import ArgumentParser
import ChatAdapters
import ChatCommands
import ChatCore
import Glibc

struct Queues: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show the command queues, or change their number.", subcommands: [State.self, Resize.self])

    static func generations(_ settings: Settings) -> PostgresQueueGenerations {
        PostgresQueueGenerations(
            PostgresConnection(settings.database, applicationName: "queue-worker queues"))
    }

    struct State: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "status", abstract: "Show each generation and each queue, with waiting messages and consumers."
        )
        @OptionGroup var settings: SettingsOption

        func run() throws {
            let settings = try self.settings.read()
            let workers = try PostgresQueueWorkers(
                PostgresConnection(settings.database, applicationName: "queue-worker queues")
            ).all()
            for generation in try Queues.generations(settings).all() {
                print(generation.line)
                let owners = QueueOwners(of: generation.layout, workers)
                for (host, queues) in owners.hosts { print("  \(host): \(queues) queues") }
                for (index, queue) in try RabbitMQQueues(settings.rabbitMQ).state(of: generation.layout).enumerated() {
                    let place = owners.seats[index].map { "  \($0)" } ?? ""
                    print("  \(queue.name)  \(queue.ready) waiting  \(queue.consumers) consumers\(place)")
                }
            }
        }
    }

    struct Resize: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Change the number of queues without stopping and without reordering.",
            discussion: """
                The current queues are finished before the new ones are consumed. \
                Set RABBITMQ_TOTAL_QUEUE to the same number; changing it and reloading has the same effect.
                """)
        @Argument(help: "From 1 to 1000.") var total: Int
        @OptionGroup var settings: SettingsOption
        @Option(help: "Seconds to wait for the end; after that the change continues by itself.") var wait = 60

        func validate() throws {
            guard (1...1000).contains(total) else { throw ValidationError("give a number from 1 to 1000") }
        }

        func run() throws {
            let settings = try self.settings.read()
            let generations = Queues.generations(settings)
            guard let newest = try generations.all().last else {
                throw ValidationError("there are no queues yet: start queue-worker first")
            }
            guard newest.layout.total != total else { return print("there are \(total) queues already") }
            var next = newest.layout
            next.generation += 1
            next.total = total
            let broker = try RabbitMQConnection(settings.rabbitMQ, name: "queue-worker queues")
            try RabbitMQQueues(settings.rabbitMQ).bind(next, on: broker)
            // Keep the recorded settings: only a change of the settings starts yet another generation.
            try generations.begin(next, setting: newest.setting)
            try waitUntil(next, generations)
        }

        private func waitUntil(_ next: QueueLayout, _ generations: any QueueGenerations) throws {
            let start = monotonicMilliseconds()
            while monotonicMilliseconds() < start + Int64(wait) * 1000 {
                let open = try generations.all().filter { !$0.isDrained }
                if let first = open.first, first.layout.generation >= next.generation {
                    return print("\(next.total) queues are in use after \(monotonicMilliseconds() - start) ms")
                }
                usleep(100_000)
            }
            print("in progress: the previous queues are not finished yet, see queues status")
        }
    }
}

/// Which worker consumes each queue, as far as the workers themselves know.
struct QueueOwners {
    let seats: [QueueSeat?]

    init(of layout: QueueLayout, _ workers: [QueueWorkerReport]) {
        let workers = workers.filter { $0.generation == layout.generation }
        seats = (0..<layout.total).map { queue in
            // An owner that has received nothing yet reports only that it is in the line.
            (workers.first { $0.working.contains(queue) } ?? workers.first { $0.lines[queue] != nil })?.seat
        }
    }

    /// The number of queues of each host.
    var hosts: [(String, Int)] {
        let counts = seats.compactMap { $0?.host }.reduce(into: [:]) { $0[$1, default: 0] += 1 }
        return counts.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }.map { ($0.key, $0.value) }
    }
}

extension QueueGeneration {
    fileprivate var line: String {
        let state = isDrained ? "drained" : isClosed ? "closed" : "open"
        return "generation \(layout.generation): \(layout.total) queues by \(layout.byUser ? "user" : "room"), \(state)"
    }
}
