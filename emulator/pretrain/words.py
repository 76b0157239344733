# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501, SIM905
"""The word lists behind the pretraining corpus, written for it by hand.

A *concept* is a set of ways to say nearly the same thing; its first form is the one a label would carry. Episodes ask
for the label while the text uses another form, which is how the base comes to know that words are related.
"""

from __future__ import annotations

Concept = tuple[str, ...]


def concepts(lines: str) -> tuple[Concept, ...]:
    """One concept per line, its forms separated by `|`."""
    return tuple(tuple(form.strip() for form in line.split("|")) for line in lines.strip().splitlines())


ACTIONS = concepts("""
cancel|call off|terminate|end|discontinue|drop|abandon
return|send back|give back|bring back|hand back
refund|reimburse|pay back|repay|compensate
pay|settle|pay for|cover|finance
buy|purchase|get|acquire|order
sell|offer|trade|auction
change|modify|alter|switch|adjust|swap
update|refresh|renew|bring up to date|revise
replace|exchange|substitute|swap out
repair|fix|mend|restore|patch
break|damage|smash|ruin|destroy|crack
open|unlock|unseal|unwrap
close|shut|lock|seal
start|begin|launch|initiate|kick off
stop|halt|pause|suspend|freeze
find|locate|discover|track down|spot
lose|misplace|mislay|forget
search|look for|seek|hunt for
send|ship|mail|dispatch|post
receive|get|collect|accept|pick up
deliver|bring|hand over|drop off
track|follow|trace|monitor
check|verify|inspect|examine|look at|review
confirm|approve|validate|agree to|authorize
reject|decline|refuse|deny|turn down
ask|inquire about|question|request
answer|reply to|respond to
explain|describe|clarify|illustrate
show|display|present|reveal
hide|conceal|cover up|mask
add|include|insert|attach|append
remove|delete|erase|take away|get rid of|clear
create|make|build|produce|generate
copy|duplicate|clone|reproduce
move|transfer|relocate|shift
join|enter|enroll in|sign up for|register for
leave|quit|exit|withdraw from|unsubscribe from
book|reserve|schedule|arrange|plan
delay|postpone|put off|defer|push back
hurry|speed up|accelerate|rush
download|fetch|save|install
upload|publish|submit|share
print|type|write|note down
read|study|scan|browse
call|phone|ring|dial|contact
charge|bill|invoice|debit
withdraw|cash out|take out
deposit|pay in|put in|top up|load
borrow|rent|lease|hire
lend|loan|let
transfer|wire|remit|forward
exchange|convert|trade in
reset|restart|reboot|reload
activate|enable|turn on|switch on
disable|turn off|switch off|deactivate|block
connect|link|pair|plug in|attach
disconnect|unlink|unplug|detach
log in to|sign in to|access|get into
clean|wash|wipe|tidy|scrub
cook|bake|boil|fry|prepare
eat|taste|have|chew|devour
drink|sip|swallow
wear|put on|dress in|try on
paint|draw|sketch|color
play|perform|practice
watch|view|observe|look at
listen to|hear|tune in to
teach|train|instruct|coach
learn|memorize|master|pick up
measure|weigh|count|calculate
compare|contrast|match
choose|select|pick|decide on|opt for
test|try|try out|experiment with
improve|upgrade|enhance|optimize
reduce|lower|cut|decrease|shrink
increase|raise|boost|expand|extend
protect|secure|guard|defend|insure
report|announce|notify|inform about|flag
complain about|criticize|object to|protest
praise|recommend|applaud|admire
invite|welcome|greet
visit|tour|travel to|stop by
translate|interpret|convert
store|keep|save|archive|put away
throw away|dump|discard|dispose of|recycle
carry|lift|haul|hold
cut|slice|chop|trim
combine|merge|mix|join|unite
separate|split|divide|sort
grow|plant|raise|cultivate
feed|water|nourish
heat|warm|warm up
cool|chill|freeze
""")

NOUN_OF = {
    "cancel": "cancellation",
    "pay": "payment",
    "buy": "purchase",
    "deliver": "delivery",
    "renew": "renewal",
    "reserve": "reservation",
    "register": "registration",
    "activate": "activation",
    "install": "installation",
    "confirm": "confirmation",
    "approve": "approval",
    "reject": "rejection",
    "verify": "verification",
    "transfer": "transfer",
    "withdraw": "withdrawal",
    "delay": "delay",
    "repair": "repair",
    "replace": "replacement",
    "compare": "comparison",
    "explain": "explanation",
    "invite": "invitation",
    "improve": "improvement",
    "reduce": "reduction",
    "increase": "increase",
    "protect": "protection",
    "translate": "translation",
    "inspect": "inspection",
    "complain about": "complaint",
    "search": "search",
    "update": "update",
    "create": "creation",
    "remove": "removal",
    "connect": "connection",
    "refund": "refund",
    "exchange": "exchange",
    "return": "return",
    "reset": "reset",
    "report": "report",
    "charge": "charge",
    "deposit": "deposit",
}

OBJECTS = concepts("""
order|purchase|shopping order
parcel|package|shipment|box
letter|envelope|postcard|mail
invoice|bill|statement|receipt
payment|transaction|transfer
subscription|membership|plan|contract
account|profile|user account
password|passcode|login|credentials|pin
address|street address|home address|location
phone number|mobile number|telephone number|contact number
email|email address|inbox
card|credit card|debit card|bank card
money|cash|funds|banknotes|coins
fee|charge|cost|commission
price|rate|quote|tariff
discount|coupon|voucher|promo code|special offer
ticket|pass|admission
reservation|booking|appointment
meeting|conference|call|session
flight|plane|airplane
train|railway|express
bus|coach|shuttle
car|vehicle|automobile|van
bicycle|bike|scooter
hotel|room|suite|hostel
restaurant|cafe|diner|bistro
meal|dinner|lunch|breakfast
bread|toast|roll|loaf
fruit|apple|banana|orange|pear
vegetable|carrot|potato|onion|tomato
coffee|espresso|latte|cappuccino
tea|green tea|herbal tea
phone|smartphone|mobile|handset
computer|laptop|notebook|desktop
tablet|e-reader|pad
screen|display|monitor
keyboard|keys|keypad
printer|scanner|copier
camera|lens|webcam
battery|charger|power bank|power supply
cable|wire|cord|adapter
headphones|earphones|headset|earbuds
speaker|loudspeaker|stereo
app|application|program|software
website|web page|site|portal
button|switch|knob
file|document|attachment|report
photo|picture|image|snapshot
video|movie|clip|film
song|music|track|melody
book|novel|magazine|textbook
game|puzzle|match|quiz
network|wifi|internet|connection
message|text|note|notification
password reset|recovery link|reset code
error|bug|crash|failure|glitch
feature|function|option|setting
language|translation|dictionary
calendar|schedule|timetable|agenda
map|route|directions|navigation
key|lock|door lock
door|gate|entrance
window|glass|curtain
table|desk|workbench
chair|seat|stool|armchair
bed|mattress|pillow|blanket
lamp|light|bulb|lantern
kitchen|oven|stove|microwave
fridge|refrigerator|freezer
washing machine|dryer|dishwasher
vacuum cleaner|broom|mop
shirt|blouse|sweater|jacket|coat
shoes|boots|sneakers|sandals
bag|backpack|suitcase|purse
watch|clock|timer|alarm
ring|necklace|jewelry|bracelet
toy|doll|ball|kite
garden|lawn|flower bed|plant
tree|bush|hedge|forest
dog|puppy|hound
cat|kitten
bird|parrot|chicken|duck
fish|salmon|tuna
doctor|physician|nurse|dentist
medicine|pill|drug|tablet
hospital|clinic|emergency room
insurance|policy|coverage
loan|mortgage|credit
salary|wage|paycheck|income
tax|duty|customs
job|position|work|career
boss|manager|supervisor|director
colleague|coworker|teammate
school|college|university|academy
teacher|professor|tutor|instructor
exam|test|assessment
lesson|course|class|lecture
homework|assignment|essay
passport|visa|identity card|license
luggage|baggage|suitcases
delivery|shipping|courier|carrier
store|shop|supermarket|mall
warranty|guarantee|protection plan
manual|guide|instructions|handbook
size|dimensions|length|width
color|shade|tint
house|home|apartment|flat
roof|wall|floor|ceiling
rent|lease|deposit
neighbor|tenant|landlord
police|officer|detective
lawyer|attorney|judge
court|trial|lawsuit
newspaper|article|journal
weather|forecast|temperature
rain|storm|snow|wind
party|celebration|birthday|wedding
gift|present|surprise
team|club|crew
server|database|cloud|backup
code|script|repository
privacy|personal data|cookies
""")

STATES = concepts("""
broken|damaged|cracked|smashed|faulty|defective
late|delayed|overdue|behind schedule|slow to arrive
missing|lost|gone|nowhere to be found|vanished
wrong|incorrect|mistaken|not right|false
expensive|overpriced|costly|too dear
cheap|affordable|low cost|a bargain
slow|sluggish|lagging|taking forever
fast|quick|rapid|speedy
dirty|filthy|stained|dusty
clean|spotless|tidy|washed
empty|blank|vacant|bare
full|crowded|packed|overloaded
locked|blocked|frozen|suspended|stuck
open|available|accessible|ready
new|brand new|fresh|modern
old|worn out|outdated|ancient
hot|burning|boiling|overheated
cold|freezing|icy|chilly
loud|noisy|deafening
quiet|silent|calm
heavy|weighty|massive
light|lightweight|portable
big|large|huge|oversized
small|tiny|little|too tight
difficult|hard|complicated|tricky
easy|simple|straightforward
safe|secure|protected
dangerous|risky|unsafe|hazardous
expired|out of date|no longer valid|lapsed
duplicate|double|twice|repeated
free|at no charge|complimentary
sold out|out of stock|unavailable
""")

ACTS = {
    "request": concepts("request|demand|asking for help")[0],
    "howto": concepts("question|how to|inquiry")[0],
    "problem": concepts("problem|trouble|issue|difficulty")[0],
    "status": concepts("status|progress|news")[0],
    "past": concepts("story|event|history")[0],
    "wish": concepts("idea|suggestion|proposal|wish")[0],
    "praise": concepts("praise|compliment|thanks")[0],
    "complaint": concepts("complaint|criticism|dissatisfaction")[0],
}

TEMPLATES: dict[str, tuple[str, ...]] = {
    key: tuple(t.strip() for t in lines.strip().split("\n"))
    for key, lines in {
        "request": """
please {v} {n}
can you {v} {n}?
could you {v} {n} {time}?
I want to {v} {n}
I'd like to {v} {n}
I need to {v} {n} {time}
we have to {v} {n}
help me {v} {n}
is it possible to {v} {n}?
I am trying to {v} {n}
{name} asked me to {v} {n}
don't forget to {v} {n}
I would be glad if you could {v} {n}
someone must {v} {n}
will you {v} {n} for me?
I was hoping to {v} {n} {time}""",
        "howto": """
how do I {v} {n}?
how can {name} {v} {n}?
where can I {v} {n}?
do you know how to {v} {n}?
explain how to {v} {n}
what do I need to {v} {n}?
what are the steps to {v} {n}?
is there a way to {v} {n}?
which button do I press to {v} {n}?
am I allowed to {v} {n}?
what happens if I {v} {n}?
I don't understand how to {v} {n}""",
        "problem": """
I can't {v} {n}
I am unable to {v} {n}
I could not {v} {n} {time}
there is a problem with {n}
something is wrong with {n}
{n} does not work
{n} doesn't work when I try to {v} it
every time I {v} {n} it fails
nobody was able to {v} {n}
I tried to {v} {n} but nothing happened
{n} stopped working {time}
it won't let me {v} {n}
I have trouble with {ving} {n}
{n} is {state}
{n} seems {state}
why is {n} {state}?
{n} was {state} {time}""",
        "status": """
when will you {v} {n}?
has anyone {ved} {n} yet?
did {name} {v} {n}?
I am still waiting for {n}
is {n} ready?
how long does it take to {v} {n}?
where is {n}?
any news about {n}?
what is happening with {n}?
I have not heard anything about {n}
{n} should have been {ved} {time}""",
        "past": """
I {ved} {n} {time}
{name} {ved} {n} {time}
we {ved} {n} together
they never {ved} {n}
after {ving} {n} we went home
{ving} {n} took two hours
my {person} {ved} {n}
{n} has been {ved}
{n} was {ved} by {name}
the {person} was {ving} {n}""",
        "wish": """
it would be nice to {v} {n}
you should offer a way to {v} {n}
I wish I could {v} {n}
why not let people {v} {n}?
my idea is to {v} {n}
we suggest that you {v} {n}
an option to {v} {n} would be useful
it would be great if we could {v} {n}
have you ever thought about {ving} {n}?
maybe you could {v} {n} in the future""",
        "praise": """
thank you for {ving} {n}
I love {n}
{n} is {good}
what a {good} {bare}!
{n} was {good}, I {love} it
so {good} that you {ved} {n}
{n} works and it is {good}
my {person} says {n} is {good}
I am happy with {n}
the {good} {bare} made my day""",
        "complaint": """
{n} is {bad}
I am angry about {n}
what a {bad} {bare}!
{n} was {bad}, I {hate} it
nobody should have to {v} {n} like this
{ving} {n} was {bad}
my {person} says {n} is {bad}
I am not happy with {n}
the {bad} {bare} ruined my day
I regret {ving} {n}""",
    }.items()
}

TOPICS: dict[str, tuple[str, ...]] = {
    line.split(":")[0]: tuple(line.split(":")[1].split())
    for line in """
sports:football goal coach league tennis player tournament stadium referee basketball athlete medal swimming cup skater
finance:stock market shares investor bank dividend bond portfolio inflation profit earnings fund trading currency
health:patient hospital disease vaccine symptom treatment surgery therapy infection heart diagnosis fever headache
technology:software chip internet robot startup algorithm server gadget processor cloud browser digital
politics:election senator president vote parliament minister campaign congress government candidate law treaty mayor
science:physics experiment laboratory molecule researcher theory microscope particle biology chemistry atom gene cell
travel:flight hotel passport airport luggage tourist beach vacation itinerary cruise resort visa museum
food:recipe cheese chef bread sauce flavor pasta dessert salad spicy soup butter rice cake
music:guitar concert album singer band melody piano orchestra lyrics drummer rhythm violin chorus
cinema:film actor director scene screenplay trailer actress sequel comedy premiere audience plot
education:school student exam university lesson homework classroom degree professor scholarship curriculum lecture
weather:rain storm snow sunny forecast temperature wind thunder hurricane humidity flood drought breeze
animals:dog cat horse elephant puppy lion tiger rabbit whale zoo wolf monkey wildlife
cars:engine wheel brake tire mileage gasoline garage sedan truck gearbox motor fuel horn
fashion:dress designer jacket runway fabric jeans boutique skirt shirt outfit sleeve style
housing:apartment rent tenant landlord property bedroom garden realtor balcony building basement
gaming:console level quest multiplayer joystick arcade puzzle avatar controller loot guild
crime:police arrest thief murder suspect robbery prison detective jail fraud weapon victim
space:rocket astronaut orbit satellite moon galaxy mars spacecraft comet telescope planet star
environment:climate pollution forest recycling carbon emission river ocean solar habitat ecosystem
family:mother father sister brother children baby parents grandmother uncle daughter son cousin
gardening:soil seed flower compost rose pruning weed vegetable lawn harvest greenhouse
art:painting sculpture gallery canvas exhibition portrait sketch ceramic brush mural
history:ancient empire king century archaeology medieval castle revolution dynasty tomb knight
fitness:gym workout muscle running yoga exercise cardio trainer stretching marathon treadmill squat
books:novel author chapter library publisher poem reader fiction literature bestseller
law:lawyer contract court judge lawsuit attorney verdict appeal plaintiff statute jury
jobs:salary interview resume hiring manager office recruiter employee promotion vacancy overtime
religion:church prayer temple priest faith mosque monk pilgrim ritual angel
transport:train bus subway station platform railway tram ferry conductor traffic commute
security:password hacker malware firewall encryption breach virus phishing identity leak
shopping:store discount basket cashier coupon sale brand bargain checkout customer
banking:account card deposit transfer balance withdrawal loan interest cash payment
agriculture:farm farmer tractor cow pig wheat corn crop field barn sheep
energy:oil gas electricity reactor turbine battery grid coal plant wind
medicine:pill dose pharmacy antibiotic prescription nurse tablet vitamin injection
sea:ship sailor harbor wave anchor island captain lighthouse tide boat
holidays:christmas easter gift candle parade fireworks costume tradition feast
cleaning:soap mop vacuum dust laundry detergent sponge bucket stain
""".strip().splitlines()
}

GOOD = (
    "good great excellent amazing wonderful fantastic lovely perfect superb brilliant awesome nice delightful pleasant "
    "comfortable reliable impressive beautiful solid sturdy helpful friendly delicious outstanding charming smooth "
    "flawless terrific enjoyable funny clever moving touching fascinating engaging fresh satisfying elegant warm "
    "thoughtful powerful refreshing entertaining magnificent graceful honest lively memorable compelling witty sharp "
    "inspiring gorgeous remarkable splendid fun polished useful handy convenient generous thrilling heartfelt original"
).split()
BAD = (
    "bad terrible awful horrible poor disappointing useless annoying ugly rude defective boring uncomfortable unreliable "
    "frustrating disgusting dreadful mediocre faulty flimsy lousy nasty painful stale dull tedious predictable shallow "
    "clumsy confusing weak lame pointless messy bland silly lifeless forgettable unpleasant sloppy pathetic ridiculous "
    "unfunny tiresome depressing pretentious hollow contrived stupid noisy overpriced broken miserable inferior harsh "
    "unhelpful empty cheap flat irritating absurd slow hopeless unbearable worthless awkward"
).split()
MIXED = "okay average normal standard ordinary regular usual typical plain acceptable moderate fair decent".split()
LOVE = "love enjoy like adore recommend appreciate admire treasure".split()
HATE = "hate dislike regret detest avoid despise loathe".split()
GOOD_TAILS = (
    "I would buy it again|it made me smile|worth every penny|everyone should try it|it was better than I expected|"
    "my children were thrilled|I will come back|it works like a charm|highly recommended|five stars|it is a joy|"
    "I laughed a lot|you will not regret it|it keeps getting better|sales went up|business is improving|a real success"
).split("|")
BAD_TAILS = (
    "I want those hours back|it fell apart|do not waste your money|never again|it was worse than I feared|"
    "my children cried|I will not come back|it stopped after a day|stay away|one star|it is a mess|"
    "I fell asleep|you will regret it|it keeps getting worse|sales went down|business is shrinking|a total failure"
).split("|")

NAMES = (
    "John Mary Alice Carlos Emma Lucas Nina Paul Sara Ivan Laura Peter Julia Kevin Rosa Victor Helen Mark Yuki Chen Amir "
    "Fatima Oliver Grace Hugo Irene Jonas Katya Leon Maya Noah Olga Pablo Quinn Ruth Samir Tara Umar Vera Walter Zoe"
).split()
PLACES = (
    "Berlin Madrid Paris London Tokyo Osaka Kyoto Seoul Boston Chicago Denver Texas Ohio Rome Milan Vienna Prague Oslo "
    "Dublin Cairo Lagos Nairobi Mumbai Delhi Sydney Lisbon Athens Warsaw Toronto Lima Geneva Brussels Atlanta Dallas"
).split()
PERSONS = (
    "friend mother father boss brother neighbor wife husband son daughter teacher sister uncle cousin roommate".split()
)
TIMES = (
    "yesterday|last week|this morning|again|for two days|on Monday|this year|every day|tonight|after lunch|tomorrow|"
    "next month|on Friday evening|two hours ago|since March|before noon|right now|at the weekend|in the afternoon|soon"
).split("|")
COLORS = "red blue green white black pink grey gold silver brown purple yellow orange beige navy turquoise".split()
MATERIALS = (
    "wood steel silk rubber paper linen glass foam cotton wool leather plastic bamboo copper marble nylon".split()
)
MONTHS = "January February March April May June July August September October November December".split()
BRANDS = (
    "Aldora Belvox Corvani Dentro Elmira Fenwick Galdor Hestia Inova Jorvik Kelmar Lundia Mirano Nordex Opalia Pruvia "
    "Rexlon Solvia Tarkin Ultimo Vantor Wexley Xenora Yaldo Zentra"
).split()
OPENERS = (
    "hi there|hello|good morning|dear team|hey|excuse me|good evening|hello everyone|sorry to bother you|one more thing|"
    "just a quick note|I have a question|to whom it may concern|greetings|so|well|actually|by the way|listen"
).split("|")
CLOSERS = (
    "thanks|thank you|many thanks|best regards|please let me know|I look forward to your answer|have a nice day|"
    "please hurry|it is urgent|any help is welcome|see you soon|that is all|what should I do|cheers|I appreciate it"
).split("|")
FILLERS = (
    "I live in {place}.|My name is {name}.|I am {num} years old.|We moved to {place} {time}.|{name} told me to write.|"
    "It is a long story.|The weather is {state} today.|I tried it {num} times.|It happened {time}.|I was in {place} {time}.|"
    "My {person} can help.|There were {num} people.|I work in an office in {place}.|We met {name} {time}.|"
    "It cost about ${num}.|I have {num} of them.|Nobody knows why.|I am not sure.|It is the second time.|"
    "My {person} had the same thing.|I do not want to wait.|The number is {num}{num}.|I have used it for {num} months.|"
    "This is not the first time.|I already wrote about this {time}.|The {person} was very {good}.|Everything else is {good}."
).split("|")
VERBS_ING_IRREGULAR = {
    "begin": "beginning",
    "get": "getting",
    "put": "putting",
    "cut": "cutting",
    "swap": "swapping",
    "drop": "dropping",
    "plan": "planning",
    "stop": "stopping",
    "ship": "shipping",
    "log": "logging",
    "shut": "shutting",
    "let": "letting",
    "submit": "submitting",
    "chop": "chopping",
    "trim": "trimming",
    "refer": "referring",
    "quit": "quitting",
    "spot": "spotting",
    "plug": "plugging",
    "wrap": "wrapping",
    "unwrap": "unwrapping",
    "sip": "sipping",
    "split": "splitting",
    "hit": "hitting",
    "run": "running",
    "dial": "dialing",
    "bring": "bringing",
    "ring": "ringing",
    "scan": "scanning",
    "unplug": "unplugging",
    "debit": "debiting",
    "remit": "remitting",
    "defer": "deferring",
    "opt": "opting",
    "scrub": "scrubbing",
    "top": "topping",
    "agree": "agreeing",
    "tie": "tying",
    "flag": "flagging",
    "mix": "mixing",
}
VERBS_PAST_IRREGULAR = {
    "begin": "begun",
    "get": "got",
    "put": "put",
    "cut": "cut",
    "send": "sent",
    "give": "given",
    "bring": "brought",
    "buy": "bought",
    "sell": "sold",
    "break": "broken",
    "shut": "shut",
    "find": "found",
    "lose": "lost",
    "forget": "forgotten",
    "seek": "sought",
    "hide": "hidden",
    "make": "made",
    "build": "built",
    "leave": "left",
    "quit": "quit",
    "write": "written",
    "read": "read",
    "ring": "rung",
    "take": "taken",
    "pay": "paid",
    "lend": "lent",
    "let": "let",
    "eat": "eaten",
    "drink": "drunk",
    "wear": "worn",
    "draw": "drawn",
    "hear": "heard",
    "teach": "taught",
    "choose": "chosen",
    "keep": "kept",
    "throw": "thrown",
    "hold": "held",
    "split": "split",
    "grow": "grown",
    "feed": "fed",
    "freeze": "frozen",
    "show": "shown",
    "repay": "repaid",
    "have": "had",
    "spot": "spotted",
    "withdraw": "withdrawn",
    "fly": "flown",
    "swap": "swapped",
    "drop": "dropped",
    "plan": "planned",
    "stop": "stopped",
    "ship": "shipped",
    "log": "logged",
    "submit": "submitted",
    "chop": "chopped",
    "trim": "trimmed",
    "plug": "plugged",
    "unwrap": "unwrapped",
    "sip": "sipped",
    "scan": "scanned",
    "unplug": "unplugged",
    "remit": "remitted",
    "defer": "deferred",
    "scrub": "scrubbed",
    "top": "topped",
    "flag": "flagged",
    "meet": "met",
    "dial": "dialed",
    "reset": "reset",
    "reboot": "rebooted",
}

# Whole intents of support desks: never used as a label of the corpus, so that they stay unseen tasks.
HELD_OUT = frozenset(
    {
        ("cancel", "subscription"),
        ("cancel", "order"),
        ("reset", "password"),
        ("change", "address"),
        ("track", "order"),
        ("track", "parcel"),
        ("change", "password"),
        ("update", "address"),
        ("update", "account"),
        ("return", "order"),
        ("refund", "order"),
        ("refund", "payment"),
        ("report", "error"),
        ("cancel", "account"),
        ("deliver", "parcel"),
        ("log in to", "account"),
        ("remove", "account"),
        ("change", "email"),
        ("update", "card"),
        ("pay", "invoice"),
        ("activate", "card"),
        ("return", "parcel"),
        ("track", "delivery"),
        ("change", "subscription"),
        ("charge", "card"),
    }
)

JAPANESE: dict[str, tuple[str, ...]] = {
    line.split(":")[0]: tuple(line.split(":")[1].split())
    for line in """
天気:雨 雪 台風 気温 晴れ 風 雷 梅雨
仕事:会社 会議 給料 残業 上司 求人 面接 社員
買い物:商品 値段 店 割引 注文 在庫 財布 客
旅行:飛行機 ホテル 空港 観光 温泉 切符 荷物 旅館
食べ物:寿司 ラーメン 料理 野菜 果物 朝食 弁当 酒
健康:病院 医者 薬 熱 手術 症状 運動 睡眠
学校:先生 学生 試験 宿題 授業 大学 卒業 勉強
機械:電話 画面 電池 充電 故障 部品 修理 工場
家:部屋 台所 窓 庭 家賃 引っ越し 玄関 屋根
お金:銀行 口座 支払い 請求 返金 税金 料金 振込
会員:登録 解約 退会 契約 更新 住所 名前 変更
配送:荷物 届け 宅配 遅延 追跡 倉庫 箱 送料
景気:売上 消費 需要 物価 雇用 株価 円安 受注
""".strip().splitlines()
}
JA_GOOD = (
    "良い 素晴らしい 楽しい 嬉しい 便利 好調 増えた 伸びている 回復した 改善した 満足 安心 おいしい 親切 最高".split()
)
JA_BAD = "悪い ひどい 悲しい 不便 不調 減った 落ち込んでいる 悪化した 厳しい 不満 心配 まずい 遅い 最低 困った".split()
JA_PATTERNS = (
    "{a}が{b}です。|{a}の{b}を確認したいです。|{a}について教えてください。|昨日、{a}を見ました。|{a}はどこですか？|"
    "{a}と{b}があります。|{a}ができません。|{a}を{b}に入れてください。|{name}さんは{a}が好きです。|{a}の方法がわかりません。|"
    "いつ{a}になりますか？|{a}をお願いします。|{a}に問題があります。|先月から{a}が続いている。|新しい{a}を始めたい。|"
    "今年の{a}は{adj}。|{a}が{adj}と思います。|{b}のため、{a}が{adj}。|とても{adj}ので、{a}をまた使います。|{a}の状況は{adj}。"
).split("|")
JA_NAMES = "田中 佐藤 鈴木 高橋 伊藤 山本 中村 小林 加藤 吉田".split()
OTHER_SCRIPTS = (
    "안녕하세요 감사합니다 주문 배송 환불 결제 문의 계정 비밀번호 오늘 날씨 좋아요 나빠요 영화 음식 회사 학교 병원 전화 은행|"
    "你好 谢谢 订单 退款 快递 账户 密码 今天 天气 很好 不好 电影 食物 公司 学校 医院 电话 银行 问题 帮助"
).split("|")

COMMON = (
    "about above across actually after afternoon again against age ago air all almost alone along already also although "
    "always among amount another anyone anything appear apply arrive article attempt attention available away back balance "
    "base because become before behind believe below best better between beyond both bottom business call care case cause "
    "century chance change child choice city clear code common company complete completed condition consider contact "
    "contain continue control cost could country couple credit current customer daily data date day deal decide decision "
    "deep detail develop difference different direct does done down during each early easily either else enough entire "
    "environment even evening ever every everyone everything exactly example except exist expect expected experience extra "
    "face fact fail failed fall family far feel few field figure final finally find fine first five follow food for force "
    "foreign form four friend from front full further future general give given global go goes going good government great "
    "group half hand happen happened happens hard have head hear help high history hold hope hour however human hundred "
    "identity if immediately important in include indeed information inside instead interest into issue itself just keep "
    "kind know known large last later least left less level life like likely limit line list little live local long look "
    "lot low made main many maximum may maybe mean meant member method middle might mind minimum minute mistake moment month "
    "more morning most much must name national near necessary need never next night none nothing notice now number occur of "
    "off office often only other others otherwise out outside over own page part particular past pending people per percent "
    "perhaps period person physical place plan point possible power present pretty previous private probably process public "
    "purpose quarter quickly quite rather reach real really reason reasons recent recently recipient record regular related "
    "remain result right round rule same saw say second section see seem sense service set several shall short should side "
    "simple since single situation small so some someone something sometimes soon source special stage standard state "
    "statement still street strong such sure system take taken tell term than that their them then there these they thing "
    "things think third this those though thousand three through time times today together tomorrow tonight too top total "
    "toward town trouble true twelve twenty two type under understand until up usage use used user usual usually value "
    "various very via voice wait waiting want wants way week well went were what when whenever where whether which while who "
    "whole whose why will with within without woman word work world would wrong yeah year yes yesterday yet young yourself "
    "abroad allowed amazing appears arrived automatically beneficiary cannot cheque compromised contactless crypto declined "
    "didn't doesn't don't euro dollar exchange extra fraud haven't holiday isn't virtual wasn't won't wouldn't visa mastercard "
    "unable unknown unfortunately verification weekend website album playlist forecast movie theatre artist weather restaurant "
    "economy region sector tourism retail manufacturer industry factory weak recovery consumption prices demand"
).split()
KANJI = (
    "日一国人年大十二本中長出三時行見月後前生五間上東四今金九入学高円子外八六下来気小七山話女北午百書先名川千水半男西電校語土木"
    "聞食車何南万毎白天母火右読友左休父雨会同事自社発者地業方新場員立開手力問代明動京目通言理体田主題意不作用度強公持野以思家世"
    "多正安院心界教文元重近考画海売知集別物使品計死特私始朝運終台広住真有口少町料工建空急止送切転研究足楽起着店病質待試族銀早映"
    "親験英医仕去味写字答夜音注帰古歌買悪図週室歩風紙黒花春赤青館屋色走秋夏習駅洋旅服夕借曜飲肉貸堂鳥飯勉冬昼茶弟牛魚兄犬妹姉漢"
    "景増減続厳消費税影響客単価売回復悪化良好状況届荷返品解約更新請求登録変更方法確認連絡対応問題製"
)
