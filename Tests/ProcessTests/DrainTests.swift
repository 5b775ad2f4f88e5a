import ChatCore
import Testing

@testable import ChatProcess

/// `drain` of the control socket, with a system in memory.
@Suite struct DrainTests {
    private static func scene(_ workers: Int = 2) throws -> MasterScene {
        let spec = PoolSpec(name: "sockets", workers: workers, handover: true)
        return try MasterScene(PoolSpec(name: "plain", workers: 1), spec).serving()
    }

    private static func workers(_ scene: MasterScene) -> [MemoryProcess] {
        scene.kernel.living.filter { $0.place["pool"] == "sockets" }
    }

    @Test func everyWorkerIsToldAndNewOnesToo() throws {
        let scene = try Self.scene()
        #expect(scene.master.answer("drain sockets 100 30").hasPrefix("draining: "))
        #expect(
            Self.workers(scene).map { $0.heard().filter { $0.hasPrefix("move") } }
                == Array(repeating: ["move-away 100 30"], count: 2))
        scene.pass(.seconds(2))
        scene.end(Self.workers(scene)[0], .killed(9))
        scene.allReady()
        #expect(Self.workers(scene).last?.heard().contains("move-away 100 30") == true)
        scene.send(.hangup)
        let next = Self.workers(scene).suffix(2).map { $0.heard() }
        #expect(next.allSatisfy { $0.contains("move-away 100 30") })
        #expect(
            scene.kernel.living.first { $0.place["pool"] == "plain" }?.heard().contains { $0.hasPrefix("move") }
                == false)
    }

    @Test func aStopIsToldOnceAndNewWorkersKnowNothing() throws {
        let scene = try Self.scene(1)
        _ = scene.master.answer("drain sockets 100 30")
        #expect(scene.master.answer("drain sockets stop").hasPrefix("not draining: "))
        #expect(Self.workers(scene)[0].heard().suffix(2) == ["move-away 100 30", "stay"])
        #expect(scene.master.answer("drain sockets stop").hasPrefix("not draining: "))
        #expect(Self.workers(scene)[0].heard().isEmpty)
        scene.pass(.seconds(2))
        scene.end(Self.workers(scene)[0])
        #expect(Self.workers(scene).count == 1 && !Self.workers(scene)[0].heard().contains { $0.hasPrefix("move") })
    }

    @Test(arguments: ["drain nothing status", "drain plain 100 30", "drain plain stop"])
    func poolsWithoutSocketsAreRefused(line: String) throws {
        #expect(try Self.scene().master.answer(line).hasPrefix("error: "))
    }

    @Test func aMasterThatStopsTakesNoOrder() throws {
        let scene = try Self.scene()
        scene.send(.terminate)
        #expect(scene.master.answer("drain sockets 100 30").hasPrefix("error: "))
    }

    @Test func theNextImageGoesOn() throws {
        var old = Inheritance()
        old.drains = ["sockets": Drained(order: "100 30 wss://b/x", since: 7, moved: 3, closed: 4)]
        #expect(try Inheritance(parsing: old.text).drains == old.drains)
    }
}
