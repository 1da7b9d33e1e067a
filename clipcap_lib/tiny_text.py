"""The text that the bundled tiny GPT-2 models read: captions, and much that no caption says.

A language model that knows nothing but the captions could not be told from one tuned on them. So half of the text is
something else: the Unicode names of all emoji, questions, stories, sums, opposites, the time and the weather. And three
tenths are retellings, one scene in two or three wordings: a model that finds in its context what it says next can also
be steered by a prefix, without being trained again.
"""

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import combinations

import emoji

from clipcap_lib.emoji_scenes import is_held_out, sample_scenes
from clipcap_lib.scene_language import BACKGROUNDS, Group, Language, Scene, captions, kinds

SHARES = {  # of all texts
    "caption": 0.15, "retelling": 0.30, "names": 0.20, "everyday": 0.19, "fact": 0.02, "sum": 0.02, "difference": 0.01,
    "product": 0.01, "story": 0.02, "opposite": 0.02, "bigger": 0.02, "faster": 0.01, "colours": 0.01, "day": 0.01,
    "odd": 0.01,
}  # fmt: skip

# --- words ---------------------------------------------------------------------------------------------------------

# Category, measure word, drawings. The corpus's own kinds are among them, and bring their own nouns and measures.
NOUNS = """
animal 只 🐈 🐕 🐑 🐓 🐧 🦉 🦆 🐢 🐙 🦀 🐬 🦋 🐝 🐌 🐞 🐼 🐸 🐰 🦊 🐵 🦒 🐜 🦡 🦇 🐻 🦫 🪲 🐦 🐔 🐿️ 🦗 🦌
animal 只 🕊️ 🦅 🦩 🪰 🐐 🦍 🦔 🐹 🦛 🦘 🐨 🐆 🦎 🦙 🦞 🦟 🐁 🦦 🦜 🦚 🦝 🐀 🦂 🦭 🦐 🦨 🦥 🕷️ 🦢 🐅 🦃
animal 只 🦧 🦑 🪿 🐩 🐤 🦄 🪼 🦖 🐻‍❄️
animal 头 🐘 🐄 🐖 🦁 🐫 🦬 🦏 🐂 🐗 🫏 🫎 🐋
animal 条 🐍 🐊 🐟 🐠 🦈 🐡 🐉 🪱
animal 匹 🐎 🐺 🦓
plant 棵 🌲 🌴 🌵 🌳 🌱 🎄 🍀
plant 朵 🌻 🌹 🍄 🌷 🌸 🪷 🌺 🪻
fruit 个 🍎 🍌 🍍 🥑 🥥 🍋 🥭 🍈 🍑 🍐 🍊 🥝 🍏 🍋‍🟩
fruit 颗 🍇 🍉 🍓 🍒 🫐 🫒
vegetable 个 🍆 🍅 🥔 🧅 🫑 🌶️
vegetable 根 🥕 🌽 🥒
food 个 🍔 🍦 🍩 🎂 🥯 🥐 🧁 🥚 🍙 🥪 🥟 🥧 🌮 🥨 🍠
food 块 🍞 🧀 🍕 🍪 🥮 🧇 🍫 🥠
food 根 🌭 🍭
dish 份 🥓 🍛 🍿 🍣 🍝 🥗 🍟 🍧
dish 碗 🍚 🍜 🍲
drink 杯 🍺 🍵 🥛 🍷 🧋 🧃
vehicle 辆 🚗 🚌 🚲 🏍️ 🚜 🚒 🚑 🚚 🚐 🚓 🏎️ 🚕 🛻 🛺 🛵 🛴 🚎 🚊
vehicle 艘 ⛵ ⛴️ 🚢 🚤 🛳️ 🛶
vehicle 架 ✈️ 🚁 🛩️
vehicle 列 🚂 🚄 🚝
vehicle 枚 🚀
building 座 🏠 🏰 ⛺ 🏭 ⛪ 🏢 🏟️ 🛖 ⛲ 🕌 🎡
building 家 🏦 🏪 🏬 🏥 🏨 🏤
building 所 🏫
toy 个 ⚽ 🏀 🎈 🪁 🧸 🤖 ⛄ ⚾ 🏐 🎾 🥏 🪀 🎲 🪆 🪃 🛷
instrument 把 🎸 🎻 🎺 🥁 🎹 🪕
instrument 支 🎷 🪈
instrument 架 🪗 🪉
wear 件 👕 🧥 👘 🥼
wear 条 👗 👖 🩳
wear 副 👓
warm 副 🧤
warm 条 🧣
warm 顶 👒 🧢 🎩
wear 双 🧦
jewel 顶 👑
jewel 条 👔
jewel 只 👞 💍 👢 👠 👟
jewel 副 🕶️
tool 把 🔑 ✂️ 🔨 🪓 🔧 🪛 🪚 📏
tool 支 ✏️ 🖊️ 🖌️ 🖍️ 🔦
tool 个 🧭 🧰
tool 架 🪜 🔭
tool 台 🔬
tool 枚 📎
tool 块 🧲
home 把 🪑 ☂️ 🧹 🫖 🥄 🔪
home 个 🛁 ⏰ 💡 🪣 🧺 🔔 🚽 🗑️ 🌡️
home 台 📷 📺 💻 📻 🖨️
home 部 ☎️ 📱
home 张 🛏️ 🛋️
home 扇 🚪 🪟
home 面 🪞
home 支 🕯️ 🪥
home 块 🧼 🧽
thing 个 🎁 🎒 🏆 ✉️ 📦 🏮 🧧 🎀
thing 本 📕 📔
thing 片 🍁 🍂
thing 颗 💎 ⭐
thing 枚 🪙 🥇
thing 张 🗺️ 🎫
thing 块 🪨
thing 把 🔒
thing 杯 ☕
sky 道 🌈
sky 朵 ☁️
sky 座 ⛰️ 🌋
sky 颗 🪐 🛰️
person 个 👦 👧 👽 🧚
person 名 👮 🕵️ 🥷 💂 🧑‍🚀 🧑‍🎤 🧑‍✈️ 🧑‍🚒 🧑‍🔬 🧑‍🎓
person 位 👴 👵 👸 🤴 🧑‍🎨 🧑‍🍳 🧑‍🏫 🧑‍🌾
"""
# What the Unicode names call otherwise than a sentence would: drawing → Chinese, English.
RENAMED = """
🦙 羊驼:llama; 🕊️ 鸽子:dove; 🥚 鸡蛋:egg; 🍑 桃子:peach; 🍐 梨:pear; 🌳 大树:tall tree; 🍒 樱桃:cherry;
🫐 蓝莓:blueberry; 🍚 米饭:rice; 🍜 面条:noodles; 🥗 沙拉:salad; 🍲 汤:soup; 🍺 啤酒:beer; 🍵 茶:tea; 🥛 牛奶:milk;
🍷 葡萄酒:wine; 🧃 果汁:juice; 🚢 轮船:ship; 🛻 皮卡:pickup truck; 🎾 网球:tennis ball; 🎲 骰子:die; 🦗 蟋蟀:cricket;
👖 牛仔裤:pair of jeans; 🩳 短裤:pair of shorts; 👢 靴子:boot; 🧢 棒球帽:cap; 👟 跑鞋:running shoe;
👠 高跟鞋:high-heeled shoe; 🧤 手套:pair of gloves; 🕶️ 墨镜:pair of sunglasses; 🧦 袜子:pair of socks; 📏 尺子:ruler;
🥄 勺子:spoon; 🪚 锯子:saw; 🧺 篮子:basket; 🪣 水桶:bucket; 🧼 肥皂:bar of soap; 🛋️ 沙发:sofa; 📔 笔记本:notebook;
🥇 金牌:gold medal; 🔒 锁:lock; 💎 宝石:gem; 🏮 红灯笼:red lantern; 🪐 行星:planet; 🎀 蝴蝶结:bow; 🥝 猕猴桃:kiwi;
🍠 烤红薯:roasted sweet potato; 🦬 野牛:bison; 🚚 货车:truck; 🛵 电动车:scooter; 🔪 菜刀:kitchen knife; 🪷 莲花:lotus;
🍪 饼干:biscuit; 🦐 虾:shrimp; 🥟 饺子:dumpling; ☎️ 电话:telephone; 🦖 恐龙:dinosaur; 🧑‍🚀 宇航员:astronaut;
🥷 忍者:ninja; 🎫 票:ticket; 🚝 单轨列车:monorail; 🛩️ 小飞机:small plane; 🫏 驴:donkey; 🪱 虫子:worm; 🗺️ 地图:map;
🍋‍🟩 青柠:lime; 🌶️ 红辣椒:hot pepper; 🐤 小鸡:chick; 🍈 甜瓜:melon; 🪆 套娃:nesting doll
"""
CLASSES = {  # category: Chinese, English with its article, English plural
    "animal": ("动物", "an animal", "animals"),
    "plant": ("植物", "a plant", "plants"),
    "fruit": ("水果", "a fruit", "fruits"),
    "vegetable": ("蔬菜", "a vegetable", "vegetables"),
    "vehicle": ("交通工具", "a vehicle", "vehicles"),
    "building": ("建筑", "a building", "buildings"),
    "instrument": ("乐器", "a musical instrument", "musical instruments"),
    "tool": ("工具", "a tool", "tools"),
}
GROWN = ("plant", "fruit", "vegetable")  # categories that overlap
UNIONS = {
    "edible": "fruit vegetable food",
    "clothes": "wear warm jewel",
    "item": "fruit vegetable food toy wear warm jewel tool thing",
    "object": "fruit vegetable food toy wear warm jewel tool thing instrument home vehicle",
    "all": "animal plant fruit vegetable food vehicle building toy instrument wear warm jewel tool home thing sky",
    "classed": " ".join(CLASSES),
}
PLURALS = {
    "mouse": "mice", "goose": "geese", "die": "dice", "knife": "knives", "scarf": "scarves", "wolf": "wolves",
    "leaf": "leaves", "ox": "oxen", "man": "men", "woman": "women", "have": "has", "radio": "radios", "yo-yo": "yo-yos",
    "kangaroo": "kangaroos", "flamingo": "flamingos", "kimono": "kimonos", "avocado": "avocados", "taco": "tacos",
    "banjo": "banjos", "kiwi": "kiwis", "deer": "deer", "moose": "moose", "bison": "bison", "fish": "fish",
    "blowfish": "blowfish", "shrimp": "shrimp", "squid": "squid", "jellyfish": "jellyfish",
}  # fmt: skip

# Chinese:English; a verb has its base, its -ing form and its past; what belongs together is split by "=".
WORDS = {
    "person": """
小明:Tom; 小红:Lily; 小华:Ben; 丽丽:Anna; 小张:Peter; 小美:Mary; 爸爸:my father; 妈妈:my mother; 老师:the teacher;
爷爷:my grandfather; 奶奶:my grandmother; 弟弟:my little brother; 妹妹:my little sister; 姐姐:my sister;
哥哥:my brother; 医生:the doctor; 农民:the farmer; 司机:the driver; 邻居:our neighbour; 同学:my classmate;
我的朋友:my friend; 厨师:the cook; 画家:the painter; 阿姨:my aunt; 叔叔:my uncle; 王先生:Mr. Wang; 李奶奶:old Mrs. Li;
那个孩子:the child; 表哥:my cousin
""",
    "given": "小明:Tom;小红:Lily;小华:Ben;丽丽:Anna;小张:Peter;小美:Mary;大卫:David;小龙:Max;安娜:Emma;小雨:Grace",
    "place": """
公园里:in the park; 学校里:at school; 教室里:in the classroom; 院子里:in the yard; 河边:by the river;
湖边:by the lake; 山坡上:on the hill; 屋顶上:on the roof; 动物园里:at the zoo; 博物馆里:in the museum;
车站旁边:next to the station; 路口:at the crossing; 村子里:in the village; 农场里:on the farm; 窗户旁边:by the window;
大门前面:in front of the gate; 桥下:under the bridge; 广场上:in the square; 市场里:at the market;
山顶上:on top of the mountain; 码头上:on the pier
""",
    "spot": """
桌子上:on the table; 桌子下面:under the table; 抽屉里:in the drawer; 盒子里:in the box; 书架上:on the shelf;
床上:on the bed; 床下面:under the bed; 门后面:behind the door; 窗台上:on the windowsill; 包里:in the bag;
柜子里:in the cupboard; 沙发上:on the sofa; 厨房里:in the kitchen; 篮子里:in the basket; 冰箱旁边:next to the fridge;
角落里:in the corner; 楼上:upstairs; 门口:at the door
""",
    "goal": """
学校:school; 公园:the park; 动物园:the zoo; 图书馆:the library; 海边:the seaside; 商店:the shop; 医院:the hospital;
车站:the station; 博物馆:the museum; 市场:the market; 电影院:the cinema; 餐馆:the restaurant; 山里:the mountains;
机场:the airport; 乡下:the countryside; 邮局:the post office; 农场:the farm; 北京:Beijing; 上海:Shanghai;
朋友家:a friend's house
""",
    "act": """
看书:read/reading/read a book; 写字:write/writing/wrote; 画画:paint/painting/painted; 唱歌:sing/singing/sang;
跳舞:dance/dancing/danced; 跑步:run/running/ran; 游泳:swim/swimming/swam; 做饭:cook/cooking/cooked;
洗碗:wash/washing/washed the dishes; 扫地:sweep/sweeping/swept the floor; 喝茶:drink/drinking/drank tea;
打篮球:play/playing/played basketball; 下棋:play/playing/played chess; 踢足球:play/playing/played football;
弹吉他:play/playing/played the guitar; 拍照:take/taking/took pictures; 看电视:watch/watching/watched television;
放风筝:fly/flying/flew a kite; 听音乐:listen/listening/listened to music; 种花:plant/planting/planted flowers;
钓鱼:go/going/went fishing; 爬山:climb/climbing/climbed mountains; 骑自行车:ride/riding/rode a bicycle;
写信:write/writing/wrote a letter; 打电话:make/making/made a phone call; 散步:go/going/went for a walk;
练小提琴:practise/practising/practised the violin; 堆雪人:build/building/built a snowman
""",
    "routine": """
起床:get/getting/got up; 吃早饭:have/having/had breakfast; 上学:go/going/went to school; 上班:go/going/went to work;
吃午饭:have/having/had lunch; 回家:go/going/went home; 吃晚饭:have/having/had dinner; 洗澡:take/taking/took a bath;
睡觉:go/going/went to bed; 出门:leave/leaving/left the house; 做作业:do/doing/did some homework;
看新闻:watch/watching/watched the news
""",
    "move": """
睡觉:sleep/sleeping/slept; 休息:rest/resting/rested; 吃东西:eat/eating/ate; 喝水:drink/drinking/drank some water;
玩耍:play/playing/played; 找吃的:look/looking/looked for food; 看着我们:watch/watching/watched us;
晒太阳:lie/lying/lay in the sun
""",
    "skill": """
游泳:swim; 骑马:ride a horse; 开车:drive; 下棋:play chess; 弹钢琴:play the piano; 说英语:speak English; 做饭:cook;
唱歌:sing; 跳舞:dance; 滑雪:ski; 打网球:play tennis; 修电脑:repair computers; 画画:paint; 包饺子:make dumplings;
吹小号:play the trumpet
""",
    "colour": """
红色:red; 蓝色:blue; 黄色:yellow; 绿色:green; 白色:white; 黑色:black; 紫色:purple; 橙色:orange; 灰色:grey; 棕色:brown;
粉红色:pink
""",
    "weather": """
晴:sunny; 多云:cloudy; 有雨:rainy; 有雪:snowy; 有风:windy; 有雾:foggy; 很热:hot; 很冷:cold; 很暖和:warm; 很凉快:cool
""",
    "bad": "有雨:rainy;有雪:snowy;有风:windy;有雾:foggy;很热:hot;很冷:cold",
    "season": "春天:spring;夏天:summer;秋天:autumn;冬天:winter",
    "side": "左边:to the left of;右边:to the right of;上面:above;下面:below;前面:in front of;后面:behind;旁边:next to",
    "quality": """
新:new; 旧:old; 漂亮:beautiful; 便宜:cheap; 贵:expensive; 干净:clean; 有用:useful; 重:heavy; 轻:light; 奇怪:strange;
普通:ordinary
""",
    "more": """
贵:more expensive; 便宜:cheaper; 重:heavier; 轻:lighter; 新:newer; 旧:older; 好看:prettier; 干净:cleaner;
有用:more useful; 大:bigger
""",
    "feeling": """
高兴:happy; 难过:sad; 生气:angry; 累:tired; 害怕:scared; 兴奋:excited; 惊讶:surprised; 紧张:nervous; 骄傲:proud;
饿:hungry; 困:sleepy
""",
    "cause": """
很高兴，因为今天放假:is happy because it is a holiday; 很累，因为走了很远的路:is tired after the long walk;
很难过，因为下雨不能出门:is sad because it rains and nobody can go out;
很饿，因为没吃早饭:is hungry because there was no breakfast;
很生气，因为有人弄坏了杯子:is angry because somebody broke a cup;
很害怕，因为外面在打雷:is scared of the thunder outside; 很兴奋，因为明天要去旅行:is excited about the trip tomorrow;
很骄傲，因为跑了第一名:is proud of winning the race; 很困，因为昨天睡得太晚:is sleepy after a short night;
很渴，因为天气太热:is thirsty because it is so hot
""",
    "opposites": """
大=小:big=small; 高=矮:tall=short; 长=短:long=short; 新=旧:new=old; 快=慢:fast=slow; 冷=热:cold=hot; 多=少:many=few;
左=右:left=right; 上=下:up=down; 前=后:front=back; 里=外:inside=outside; 白天=黑夜:day=night; 开=关:open=closed;
远=近:far=near; 重=轻:heavy=light; 干=湿:dry=wet; 胖=瘦:fat=thin; 早=晚:early=late; 好=坏:good=bad; 黑=白:black=white;
强=弱:strong=weak; 软=硬:soft=hard; 深=浅:deep=shallow; 真=假:true=false; 安静=吵闹:quiet=noisy; 干净=脏:clean=dirty;
简单=困难:easy=difficult
""",
    "sizes": """
蚂蚁:an ant; 蜜蜂:a bee; 老鼠:a mouse; 青蛙:a frog; 兔子:a rabbit; 狐狸:a fox; 绵羊:a sheep; 狮子:a lion; 马:a horse;
长颈鹿:a giraffe; 大象:an elephant; 鲸鱼:a whale; 大山:a mountain
""",
    "speeds": """
蜗牛:a snail; 乌龟:a turtle; 鸭子:a duck; 自行车:a bicycle; 公交车:a bus; 火车:a train; 飞机:an airplane;
火箭:a rocket
""",
    "coloured": """
天空=蓝色:the sky=blue; 草=绿色:grass=green; 雪=白色:snow=white; 煤=黑色:coal=black; 血=红色:blood=red;
大海=蓝色:the sea=blue; 沙子=黄色:sand=yellow; 树叶=绿色:a leaf=green; 云=白色:a cloud=white;
太阳=红色:the setting sun=red; 牛奶=白色:milk=white; 橘子=橙色:an orange=orange
""",
    "weekdays": """
星期一:Monday; 星期二:Tuesday; 星期三:Wednesday; 星期四:Thursday; 星期五:Friday; 星期六:Saturday; 星期天:Sunday
""",
    "month": """
一月:January; 二月:February; 三月:March; 四月:April; 五月:May; 六月:June; 七月:July; 八月:August; 九月:September;
十月:October; 十一月:November; 十二月:December
""",
    "facts": """
一年有十二个月。:A year has twelve months.; 一个星期有七天。:A week has seven days.;
一天有二十四个小时。:A day has twenty-four hours.;
太阳从东边升起，从西边落下。:The sun rises in the east and sets in the west.;
月亮绕着地球转。:The moon goes around the earth.; 水在零度结成冰。:Water turns to ice at zero degrees.;
鸟有翅膀，会飞。:Birds have wings and can fly.; 鱼生活在水里。:Fish live in water.;
蜘蛛有八条腿。:A spider has eight legs.; 猫会抓老鼠。:Cats catch mice.;
奶牛吃草，产牛奶。:Cows eat grass and give milk.; 蜜蜂采花蜜。:Bees collect honey.;
企鹅不会飞，但是会游泳。:Penguins cannot fly, but they can swim.; 骆驼住在沙漠里。:Camels live in the desert.;
红灯停，绿灯行。:Stop at red, go at green.; 书是用纸做的。:Books are made of paper.;
雪是冷的，火是热的。:Snow is cold and fire is hot.;
人用耳朵听，用眼睛看。:We hear with our ears and see with our eyes.; 一只手有五个手指。:A hand has five fingers.;
海水是咸的。:The sea is salty.; 糖是甜的，柠檬是酸的。:Sugar is sweet and lemons are sour.;
三角形有三条边。:A triangle has three sides.; 下雨的时候要打伞。:Take an umbrella when it rains.;
春天花开，秋天叶落。:Flowers open in spring and leaves fall in autumn.;
消防车去救火。:A fire engine goes to the fire.; 医生在医院工作。:Doctors work in hospitals.;
老虎和狮子都是猛兽。:Tigers and lions are wild animals.; 向日葵朝着太阳。:Sunflowers face the sun.;
夜里可以看到星星。:At night we can see the stars.; 长颈鹿的脖子很长。:Giraffes have long necks.;
大象的鼻子很长。:Elephants have long trunks.; 乌龟走得很慢。:Turtles walk slowly.
""",
}  # fmt: skip
DIGITS = ("零一二三四五六七八九", ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])
TEENS = [
    "ten",
    "eleven",
    "twelve",
    *(f"{word}teen" for word in ("thir", "four", "fif", "six", "seven", "eigh", "nine")),
]
TENS = [f"{word}ty" for word in ("twen", "thir", "for", "fif", "six", "seven", "eigh", "nine")]

# --- sentences -----------------------------------------------------------------------------------------------------

# {form pool number}: the same pool and number is the same word again; the forms are those of `_inflect`.
TEMPLATES: dict[Language, dict[str, str]] = {
    "zh": {
        "names": """
这是{a all}。
那是{a all}，不是{a all2}。
{place}有{a all}。
{spot}放着{a item}
{place}有{a all}和{a all2}
{a animal}在{place}
{place}能看到{a all}
图中有{a all}，没有{all2}。
图中只有{a person}和{a animal}
照片里有{a animal}，背景是{season}的树林
{a object}在{a object2}的{side}
{a animal}的{side}是{a animal2}
{place}，{a vehicle}的{side}是{a person}
{spot}左边是{a item}，右边是{a item2}
{item}、{item2}和{item3}都在{spot}。
{person}的{item}在哪里？在{spot}。
我喜欢{animal}，不喜欢{animal2}。
你喜欢{edible}还是{edible2}？我喜欢{edible}。
有的人喜欢{animal}，有的人喜欢{animal2}。
你看见{that all}了吗？
问：这是什么？答：这是{a all}。
问：那是{animal}吗？答：不是，那是{animal2}。
{animal}、{animal2}和{animal3}都是动物。
{classed}是一种{class classed}。
{vehicle}和{vehicle2}都是交通工具。
“{object}”的量词是“{m object}”，比如“{a object}”。
请把{that tool}给我。
{person}买了{a item}。
{person}画了{a all}。
{person}在{place}看到{n animal}。
{place}一共有{n all}。
{person}有{n item}，{person2}有{n item2}。
{person}想要{ac clothes}。
{place}有{ac vehicle}。
{this object}是{colour}的。
{this object}多少钱？{number}块钱。
{this item}比{that item2}{more}。
{person}的{item}很{quality}。
我觉得{this object}很{quality}。
没有{drink}了，只有{drink2}。
{dish}和{drink}，你要哪一个？
晚饭有{dish}、{vegetable}和{drink}。
{person}点了{a dish}和{a drink}。
{building}的{side}是{a building2}。
从{building}到{building2}要走{number}分钟。
几{m animal}{animal}在{place}{move}。
{a person}在{place}{act}。
{a person}和{a person2}在{place}说话
{place}长着{a plant}。
{a sky}出现在远处
{name}
这个图标的名字叫{name}。
图标“{name}”在“{name2}”的{side}。
屏幕上有三个图标：{name}、{name2}和{name3}。
“{name}”和“{name2}”是两个不同的图标。
他发来一个表情：{name}。
请找出“{name}”的图标。
{name}，{name2}，{name3}，{name4}
我用“{name}”代替“{name2}”。
""",
        "everyday": """
{person}正在{act}。
{person}和{person2}一起{act}。
{person}在{place}{act}。
{person}不想{act}，想{act2}。
{person}喜欢{act}，也喜欢{act2}。
{person}先{act}，再{act2}。
你会{skill}吗？会一点儿。
{person}不会{skill}，{person2}会。
{this animal}正在{move}。
{place}，{a animal}正在{move}。
{person}每天{clock}{routine}。
{clock}了，该{routine}了。
现在几点？现在{clock}。
“几点{routine}？”“{clock}。”
今天{weather}，明天{weather2}。
昨天{weather}，今天{weather2}。
外面在下雨，别忘了带伞。
外面{bad}，大家都回家了。
每到{season}，{person}就常常{act}。
{season}到了，{person}每天{act}。
我最喜欢{season}，因为可以{act}。
{month}天气怎么样？{month}{weather}。
{person}的生日在{month}。
天冷了，{person}戴上了{a warm}。
你好，你叫什么名字？我叫{given}。
早上好，{given}！早上好！
“你去哪儿？”“我去{goal}。”
“你在做什么？”“我在{act}。”
谢谢你的{item}！不客气。
对不起，我来晚了。没关系。
你想吃什么？我想吃{dish}。
要喝{drink}吗？好啊，谢谢。
{person}问：“{item}在哪里？”{person2}说：“在{spot}。”
“可以借我{a tool}吗？”“当然可以。”
喂，请问{given}在家吗？不在，去{goal}了。
{given}，快来看，那里有{a animal}！
{person}和{person2}坐{vehicle}去{goal}。
从这里到{goal}要{number}分钟。
{goal}离这里有{number}公里。
{person}今年{number}岁。
书的第{number}页画着{a animal}。
一共有{number}个人去了{goal}。
{person}{cause}。
{person}看起来很{feeling}。
听到这个消息，{person}很{feeling}，{person2}也很{feeling}。
{person}喜欢{colour}，{person2}喜欢{colour2}。
墙是{colour}的，门是{colour2}的。
{person}去了{goal}，在那里看到了{a animal}。
{person}丢了{a item}，后来在{spot}找到了。
从前有{a animal}，住在{place}。一天，来了{a animal2}。
{a animal}遇见了{a animal2}，它们成了好朋友。
早上下雨，下午天晴了。天上出现了一道彩虹。
{person}生日那天收到了{a item}，非常高兴。
{person}种了{a plant}，每天给它浇水。
{a animal}饿了，到处找吃的。最后找到了{a edible}。
{person}把{item}送给{person2}，{person2}说谢谢。
天黑了，{person}打开灯，开始{act}。
{person}打开盒子，里面是{a item}。
{person}想买{item}，可是钱不够。
门外有人敲门，原来是{person}。
{person}在{goal}迷路了，{a person2}帮了忙。
如果明天{weather}，我们就去{goal}。
虽然今天{bad}，{person}还是去{goal}了。
{person}一边{act}，一边等{person2}。
一个人在{act}，另一个人在{act2}。
大家都在{act}，只有{person}在{act2}。
不要在{place}{act}。
我们{clock}在{goal}见面，好吗？
""",
        "fact": "{facts}",
        "sum": """
{x}加{y}等于{z}。
{x}加{y}是多少？是{z}。
{z}等于{x}加{y}。
""",
        "difference": """
{z}减{y}等于{x}。
{z}减{y}是多少？是{x}。
{z}比{x}多{y}。
""",
        "product": """
{x}乘{y}等于{z}。
{x}个{y}是{z}。
""",
        "story": """
{person}有{x}{m plain}{plain}，又买了{y}{m plain}，现在有{z}{m plain}。
{person}有{z}{m plain}{plain}，送给{person2}{y}{m plain}，还剩{x}{m plain}。
{place}有{x}{m beast}{beast}，又来了{y}{m beast}，一共{z}{m beast}。
{z}{m beast}{beast}走了{y}{m beast}，还有{x}{m beast}。
""",
        "opposite": """
{x}的反义词是{y}。
“{x}”和“{y}”是一对反义词。
问：{x}的反义词是什么？答：{y}。
不是{x}，是{y}。
""",
        "bigger": """
{x}比{y}大。
{y}没有{x}大。
{y}比{x}小。
{x}和{y}，哪个大？{x}大。
""",
        "faster": """
{x}比{y}快。
{y}没有{x}快。
{x}快，{y}慢。
{x}和{y}，哪个慢？{y}慢。
""",
        "colours": """
{x}是{y}的。
{x}是什么颜色的？是{y}的。
""",
        "day": """
今天是{today}，明天是{tomorrow}。
{today}过后是{tomorrow}。
昨天是{today}，今天是{tomorrow}。
""",
        "odd": """
{same}、{same2}和{odd}，哪个不是{class same}？是{odd}。
{same}和{same2}是{class same}，{odd}不是。
{odd}不是{class same}，是{class odd}。
""",
    },
    "en": {
        "names": """
this is {a all}.
that is {a all}, not {a all2}.
there is {a all} {place}.
{a item} {spot}
{a all} and {a all2} {place}
{a animal} {place}
we can see {a all} {place}
the picture shows {a all}, but no {all2}.
only {a person} and {a animal} in the picture
a photo of {a animal} in {season}
{a object} {side} {a object2}
{a animal} {side} {a animal2}
{place}, {a vehicle} {side} {a person}
{spot} we find {a item} and {a item2}
the {item}, the {item2} and the {item3} are {spot}.
where is the {item}? it is {spot}.
I like {s animal}, but I do not like {s animal2}.
do you like {s edible} or {s edible2}? I like {s edible}.
some people like {s animal} and some like {s animal2}.
did you see {that all}?
what is this? this is {a all}.
is that {a animal}? no, it is {a animal2}.
{s animal}, {s animal2} and {s animal3} are animals.
{a classed} is {class classed}.
{s vehicle} and {s vehicle2} are vehicles.
one {object}, two {s plain}
please give me {that tool}.
{person} bought {a item}.
{person} drew {a all}.
{person} saw {n animal} {place}.
there are {some all} {place}.
{person} has {n item} and {person2} has {n item2}.
{person} wants {ac clothes}.
there is {ac vehicle} {place}.
{this object} is {colour}.
how much is {this object}? it costs {number} dollars.
{this item} is {more} than {that item2}.
the {item} is {quality}.
I think {this object} is {quality}.
there is no {drink} left, only {drink2}.
would you like {dish} or {drink}?
for dinner we have {dish}, {s vegetable} and {drink}.
{person} ordered {dish} and {drink}.
the {building} is {side} the {building2}.
it is {number} minutes from the {building} to the {building2}.
a few {s animal} are {ing move} {place}.
{a person} is {ing act} {place}.
{a person} and {a person2} are talking {place}
{a plant} grows {place}.
far away there is {a sky}
{name}
this icon is called {name}.
the icon {name} is {side} the icon {name2}.
there are three icons on the screen: {name}, {name2} and {name3}.
{name} and {name2} are two different icons.
the message ends with an emoji: {name}.
please find the icon for {name}.
{name}, {name2}, {name3}, {name4}
use {name} instead of {name2}.
""",
        "everyday": """
{person} is {ing act}.
{person} and {person2} are {ing act} together.
{person} is {ing act} {place}.
{person} does not want to {act}, but to {act2}.
{person} likes {ing act} and {ing act2}.
first {person} {past act}, then {person2} {past act2}.
can you {skill}? yes, a little.
{person} cannot {skill}, but {person2} can.
{this animal} is {ing move}.
{place}, {a animal} is {ing move}.
every day {person} {s routine} at {clock}.
it is {clock}, time to {routine}.
what time is it? it is {clock}.
when do you {routine}? at {clock}.
it is {weather} today, and it will be {weather2} tomorrow.
it was {weather} yesterday, but it is {weather2} today.
it is raining outside, take your umbrella.
it is {bad} outside, so everybody went home.
every {season} {person} likes to {act}.
it is {season}, and every day {person} {s act}.
I like {season} best, because then I can {act}.
what is the weather like in {month}? it is {weather} in {month}.
{person} has a birthday in {month}.
it is cold, so {person} put on {a warm}.
hello, what is your name? my name is {given}.
good morning, {given}! good morning!
"where are you going?" "I am going to {goal}."
"what are you doing?" "I am {ing act}."
thank you for the {item}! you are welcome.
I am sorry I am late. that is all right.
what would you like to eat? I would like some {dish}.
would you like some {drink}? yes, please.
{person} asked, "where is the {item}?" {person2} said, "it is {spot}."
"may I borrow {a tool}?" "of course."
hello, is {given} at home? no, {given} went to {goal}.
look, {given}, there is {a animal}!
{person} and {person2} went to {goal} by {vehicle}.
it takes {number} minutes to get to {goal}.
it is {number} kilometres from here to {goal}.
{person} is {number} years old.
page {number} of the book shows {a animal}.
{number} people went to {goal}.
{person} {cause}.
{person} looks {feeling}.
{person} is {feeling}, and {person2} is {feeling} too.
{person} likes {colour}, and {person2} likes {colour2}.
the wall is {colour} and the door is {colour2}.
{person} went to {goal} and saw {a animal} there.
{person} lost {a item} and found it {spot}.
once there was {a animal} {place}. one day {a animal2} came along.
{a animal} met {a animal2}, and they became good friends.
it rained in the morning. in the afternoon there was a rainbow in the sky.
{person} got {a item} for a birthday present and was very happy.
{person} planted {a plant} and gave it water every day.
{a animal} was hungry and looked for food. at last it found {a edible}.
{person} gave {a item} to {person2}, and {person2} said thank you.
it got dark. {person} turned on the light and {past act}.
{person} opened the box, and there was {a item} inside.
{person} wants to buy {a item}, but it is too expensive.
somebody knocked at the door. it was {person}.
{person} got lost on the way to {goal}, but {a person2} helped.
if it is {weather} tomorrow, we will go to {goal}.
although it is {bad}, {person} went to {goal}.
{person} is {ing act} and waiting for {person2}.
one of us is {ing act}, the other is {ing act2}.
everybody is {ing act}, only {person} is {ing act2}.
please do not {act} {place}.
let us meet at {clock} at {goal}.
""",
        "fact": "{facts}",
        "sum": """
{x} plus {y} is {z}.
what is {x} plus {y}? it is {z}.
{x} and {y} make {z}.
""",
        "difference": """
{z} minus {y} is {x}.
what is {z} minus {y}? it is {x}.
{z} is {y} more than {x}.
""",
        "product": """
{x} times {y} is {z}.
{y} multiplied by {x} is {z}.
""",
        "story": """
{person} has {x} {s plain} and buys {y} more. now there are {z} {s plain}.
{person} has {z} {s plain} and gives {y} to {person2}. {x} {s plain} are left.
there are {x} {s beast} {place}. {y} more come, so there are {z} {s beast}.
there were {z} {s beast}. {y} went away, and {x} are left.
""",
        "opposite": """
the opposite of {x} is {y}.
{x} and {y} are opposites.
what is the opposite of {x}? {y}.
not {x}, but {y}.
""",
        "bigger": """
{x} is bigger than {y}.
{y} is not as big as {x}.
{y} is smaller than {x}.
{x} or {y}, which is bigger? {x}.
""",
        "faster": """
{x} is faster than {y}.
{y} is not as fast as {x}.
{y} is slower than {x}.
{x} or {y}, which is slower? {y}.
""",
        "colours": """
{x} is {y}.
what colour is {x}? it is {y}.
""",
        "day": """
today is {today}, tomorrow is {tomorrow}.
{tomorrow} comes after {today}.
yesterday was {today}, so today is {tomorrow}.
""",
        "odd": """
{a same}, {a same2} and {a odd}: which is not {class same}? the {odd}.
{s same} and {s same2} are {classes same}, but {s odd} are not.
{a odd} is not {class same}, it is {class odd}.
""",
    },
}  # fmt: skip
SLOT = re.compile(r"\{(?:(\w+) )?([a-z]+)(\d?)\}")
# Emoji that are no word or picture of their own: flags, skin tones; buttons, clock faces, variants by sex or direction.
NO_DRAWING = re.compile("[\U0001f1e6-\U0001f1ff\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f\u20e3]")
NO_NAME = re.compile(
    r"button|o’clock|-thirty|Japan|facing|pregnant|finger|poo$|eighteen|blood_|medium|^(wo)?m[ae]n_|^family|feeding"
    r"|^(person|people|kiss|couple)_.*(:|hand)|breast|bikini|cigar|love_hotel|_right$|_in_.*wheelchair|_cane$|^deaf|Santa|Mrs"
)


@dataclass(frozen=True)
class Noun:
    """A countable noun in both languages; `kind` names the corpus's kind it is, if any."""

    category: str
    zh: str
    measure: str
    en: str
    plural: str
    kind: str | None


Words = tuple[str, ...]
Word = Noun | Words | str  # a noun; a word of `WORDS` in one language, a verb with its forms; a number in words


def _plural(noun: str) -> str:
    """Also the third person of a verb: watches, flies."""
    if " of " in noun:
        head, _, tail = noun.partition(" of ")
        return f"{_plural(head)} of {tail}"
    before, space, last = noun.rpartition(" ")
    if last in PLURALS:
        return before + space + PLURALS[last]
    if re.search(r"[^aeiou]y$", noun):
        return noun[:-1] + "ies"
    return noun + ("es" if re.search(r"(s|x|z|ch|sh|o)$", noun) else "s")


def _article(noun: str) -> str:
    return f"an {noun}" if re.match(r"(?!uni[cf]|one )[aeiou]", noun) else f"a {noun}"


@cache
def _unicode_names() -> dict[str, tuple[str, str]]:
    """Chinese and English CLDR name of every drawing; loads the package's Chinese table."""
    emoji.config.load_language(["zh"])
    named = ((drawing, entry) for drawing, entry in emoji.EMOJI_DATA.items() if "zh" in entry)
    return {drawing: (entry["zh"].strip(":"), entry["en"].strip(":")) for drawing, entry in named}


@cache
def icon_names(language: Language) -> Words:
    """The names of all emoji that are a word or picture of their own, in the order of the package `emoji`."""
    names = []
    for drawing, (zh, en) in _unicode_names().items():
        plain = emoji.EMOJI_DATA[drawing]["status"] == emoji.STATUS["fully_qualified"] and "_" not in zh
        if plain and not NO_NAME.search(en) and not NO_DRAWING.search(drawing):
            names.append(zh if language == "zh" else en.replace("_", " ").replace("’", "'"))
    return tuple(dict.fromkeys(names))


@cache
def _renamed() -> dict[str, list[str]]:
    entries = (entry.split(" ", 1) for entry in re.split(r";\s*", RENAMED.strip()))
    return {drawing: names.split(":") for drawing, names in entries}


def _noun(category: str, measure: str, drawing: str) -> Noun:
    for name, kind in kinds().items():
        if kind.emoji == drawing:
            return Noun(category, kind.zh, kind.measure, kind.en, kind.plural, name)
    zh, en = _renamed().get(drawing) or _unicode_names()[drawing]
    en = en.replace("_", " ")
    return Noun(category, zh, measure, en, _plural(en), None)


@cache
def nouns() -> dict[str, tuple[Noun, ...]]:
    """All countable nouns by category, and by the unions of categories that the templates draw from."""
    table: dict[str, list[Noun]] = {}
    for line in NOUNS.strip().splitlines():
        category, measure, *drawings = line.split()
        table.setdefault(category, []).extend(_noun(category, measure, drawing) for drawing in drawings)
    for union, categories in UNIONS.items():
        table[union] = [noun for category in categories.split() for noun in table[category]]
    table["plain"] = [noun for noun in table["item"] if noun.kind is None]
    table["beast"] = [noun for noun in table["animal"] if noun.kind is None]
    return {name: tuple(members) for name, members in table.items()}


# --- pools ---------------------------------------------------------------------------------------------------------


def number_word(n: int, language: Language) -> str:
    """A number from 0 to 99 in words."""
    tens, ones = divmod(n, 10)
    if language == "zh":
        head = "" if n < 10 else "十" if n < 20 else DIGITS[0][tens] + "十"
        return head + (DIGITS[0][ones] if ones or n == 0 else "")
    if n < 20:
        return (DIGITS[1] + TEENS)[n]
    return TENS[tens - 2] + (f"-{DIGITS[1][ones]}" if ones else "")


def _counting(n: int, language: Language) -> str:
    return "两" if language == "zh" and n == 2 else number_word(n, language)


def _clock(language: Language) -> Words:
    if language == "zh":
        return tuple(_counting(n, "zh") + ending for n in range(1, 13) for ending in ("点", "点半", "点一刻", "点十分"))
    forms = ("{} o'clock", "half past {}", "a quarter past {}", "ten past {}")
    return tuple(form.format(number_word(n, "en")) for n in range(1, 13) for form in forms)


def _forms(words: str) -> Words:
    """`go/going/went home` → its base, its -ing form, its past and its third person."""
    verb, space, rest = words.partition(" ")
    base, *others = verb.split("/")
    forms = (base, *others, _plural(base)) if others else (base,)
    return tuple(form + space + rest for form in forms)


@cache
def _pools(language: Language) -> dict[str, tuple[Word, ...]]:
    at = 0 if language == "zh" else 1
    pools: dict[str, tuple[Word, ...]] = dict(nouns())
    for pool, text in WORDS.items():
        pools[pool] = tuple(_forms(entry.split(":")[at]) for entry in re.split(r";\s*", text.strip()))
    pools["place"] += tuple((words[0 if language == "zh" else 2],) for words in BACKGROUNDS.values())
    pools["clock"], pools["name"] = _clock(language), icon_names(language)
    pools["number"] = tuple(number_word(n, language) for n in range(2, 100))
    if language == "en":  # "a bunch of grapes is a fruit" is nothing to learn
        pools["classed"] = tuple(noun for noun in pools["classed"] if " of " not in noun.en)
    return pools


# --- facts: what a template's words must be to make it true --------------------------------------------------------


def _pair(pool: str) -> Callable[[random.Random, Language], dict[str, Word]]:
    return lambda rng, language: dict(zip("xy", rng.choice(_pools(language)[pool])[0].split("="), strict=True))


def _ranked(pool: str) -> Callable[[random.Random, Language], dict[str, Word]]:
    def draw(rng: random.Random, language: Language) -> dict[str, Word]:
        ladder = _pools(language)[pool]
        low = rng.randrange(len(ladder) - 2)
        return {"x": ladder[rng.randrange(low + 2, len(ladder))], "y": ladder[low]}

    return draw


def _sum(rng: random.Random, language: Language) -> dict[str, Word]:
    x, y = rng.randint(1, 30), rng.randint(1, 30)
    return {name: number_word(n, language) for name, n in (("x", x), ("y", y), ("z", x + y))}


def _product(rng: random.Random, language: Language) -> dict[str, Word]:
    x, y = rng.randint(2, 9), rng.randint(2, 9)
    return {name: number_word(n, language) for name, n in (("x", x), ("y", y), ("z", x * y))}


def _story(rng: random.Random, language: Language) -> dict[str, Word]:
    x, y = rng.randint(2, 9), rng.randint(2, 9)
    return {name: _counting(n, language) for name, n in (("x", x), ("y", y), ("z", x + y))}


def _opposite(rng: random.Random, language: Language) -> dict[str, Word]:
    pair = _pair("opposites")(rng, language)
    return pair if rng.random() < 0.5 else {"x": pair["y"], "y": pair["x"]}


def _day(rng: random.Random, language: Language) -> dict[str, Word]:
    week = _pools(language)["weekdays"]
    today = rng.randrange(7)
    return {"today": week[today], "tomorrow": week[(today + 1) % 7]}


def _odd(rng: random.Random, language: Language) -> dict[str, Word]:
    classed = _pools(language)["classed"]
    odd = rng.choice(classed)
    like_odd = GROWN if odd.category in GROWN else (odd.category,)
    same = rng.choice([noun for noun in classed if noun.category not in like_odd])
    same2 = rng.choice([noun for noun in classed if noun.category == same.category and noun != same])
    return {"odd": odd, "same": same, "same2": same2}


FACTS: dict[str, Callable[[random.Random, Language], dict[str, Word]]] = {
    "sum": _sum, "difference": _sum, "product": _product, "story": _story, "opposite": _opposite, "day": _day,
    "bigger": _ranked("sizes"), "faster": _ranked("speeds"), "colours": _pair("coloured"), "odd": _odd,
}  # fmt: skip

# --- filling a template --------------------------------------------------------------------------------------------


def _scene(groups: tuple[Group, ...]) -> Scene:
    return Scene("grass", groups, "left" if len(groups) == 2 else None, 0)


def _count(noun: Noun, numbers: range, rng: random.Random) -> int:
    """A number in which the corpus's training scenes may hold the noun."""
    while True:
        n = rng.choice(numbers)
        if noun.kind is None or not is_held_out(_scene((Group(noun.kind, n, "big"),))):
            return n


def _noun_zh(noun: Noun, form: str, rng: random.Random) -> str:
    match form:
        case "a" | "this" | "that":
            return {"a": "一", "this": "这", "that": "那"}[form] + noun.measure + noun.zh
        case "n":
            return _counting(_count(noun, range(1, 11), rng), "zh") + noun.measure + noun.zh
        case "ac":
            return f"一{noun.measure}{rng.choice(_pools('zh')['colour'])[0]}的{noun.zh}"
        case "m":
            return noun.measure
        case "class":
            return CLASSES[noun.category][0]
    return noun.zh


def _noun_en(noun: Noun, form: str, rng: random.Random) -> str:
    match form:
        case "a":
            return _article(noun.en)
        case "this" | "that":
            return f"{form} {noun.en}"
        case "s":
            return noun.plural
        case "n" | "some":
            n = _count(noun, range(1 if form == "n" else 2, 11), rng)
            return _article(noun.en) if n == 1 else f"{number_word(n, 'en')} {noun.plural}"
        case "ac":
            return _article(f"{rng.choice(_pools('en')['colour'])[0]} {noun.en}")
        case "class" | "classes":
            return CLASSES[noun.category][1 if form == "class" else 2]
    return noun.en


def _inflect(word: Word, form: str, language: Language, rng: random.Random) -> str:
    if isinstance(word, Noun):
        bare = word.category in ("dish", "drink") and language == "en"
        return word.en if bare else (_noun_zh if language == "zh" else _noun_en)(word, form, rng)
    if isinstance(word, str):
        return word
    return word[("", "ing", "past", "s").index(form)] if len(word) > 1 else word[0]


def _fill(template: str, drawn: dict[str, Word], language: Language, rng: random.Random) -> str:
    def slot(found: re.Match[str]) -> str:
        form, pool, number = found.groups(default="")
        while pool + number not in drawn:
            word = rng.choice(_pools(language)[pool])
            if word not in drawn.values():
                drawn[pool + number] = word
        return _inflect(drawn[pool + number], form, language, rng)

    return SLOT.sub(slot, template)


def _capitalised(text: str) -> str:
    """English sentences begin with a capital; what has no full stop stays as it is, as the captions do."""
    if text[-1] not in '.?!"':
        return text
    return re.sub(r'((?:^|[.?!]"? )"?|, ")([a-z])', lambda found: found[1] + found[2].upper(), text)


# --- the stream ----------------------------------------------------------------------------------------------------


@cache
def _kind_names(language: Language) -> tuple[re.Pattern[str], dict[str, str]]:
    if language == "zh":
        forms = {kind.zh: name for name, kind in kinds().items()}
    else:
        forms = {form: name for name, kind in kinds().items() for form in (kind.en, kind.plural)}
    words = "|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True))
    return re.compile(words if language == "zh" else rf"\b(?:{words})\b"), forms


def names_held_out_pair(text: str, language: Language) -> bool:
    """Whether a text names two kinds, anywhere, that no training scene of the corpus shows together."""
    pattern, forms = _kind_names(language)
    pairs = combinations(sorted({forms[word] for word in pattern.findall(text)}), 2)
    return any(is_held_out(_scene((Group(a, 1, "big"), Group(b, 1, "big")))) for a, b in pairs)


def _other_text(section: str, language: Language, rng: random.Random) -> str:
    while True:
        template = rng.choice(TEMPLATES[language][section].strip().splitlines())
        drawn = FACTS[section](rng, language) if section in FACTS else {}
        text = _fill(template, drawn, language, rng)
        if not names_held_out_pair(text, language):
            return text if language == "zh" else _capitalised(text)


def _retelling(scene: Scene, language: Language, rng: random.Random) -> str:
    """One scene told two or three times: what the first says, the next must find again and say differently."""
    told = rng.sample(captions(scene, language), rng.choice((2, 2, 3)))
    return "。".join(told) if language == "zh" else "; ".join(told)


def broad_text(language: Language, seed: int) -> Iterator[str]:
    """An endless stream of short texts: `SHARES` of captions, retellings, Unicode names, everyday sentences, facts.

    Most have at most 40 characters or 30 words, retellings twice that. Same seed, same stream, given the version of the
    package `emoji`. No caption shows, and no other text names, a composition that the corpus holds out.
    """
    rng = random.Random(f"{language} {seed}")
    scenes = sample_scenes(rng.getrandbits(64))  # not those of a corpus that happens to have the same seed
    sections, weights = list(SHARES), list(SHARES.values())
    while True:
        section = rng.choices(sections, weights)[0]
        if section == "caption":
            yield rng.choice(captions(next(scenes), language))
        elif section == "retelling":
            yield _retelling(next(scenes), language, rng)
        else:
            yield _other_text(section, language, rng)


def chinese_characters() -> str:
    """Every character that Chinese text of this module, of the corpus or of the Unicode names can hold, sorted."""
    sources = [*TEMPLATES["zh"].values(), *WORDS.values(), *DIGITS[0], "十两这那点半一刻"]
    sources += [name for names, _ in _unicode_names().values() for name in names]
    sources += [noun.zh + noun.measure for group in nouns().values() for noun in group]
    sources += [text for scene in _every_wording() for text in captions(scene, "zh")]
    return "".join(sorted({character for source in sources for character in source if ord(character) > 127}))


def _every_wording() -> Iterator[Scene]:
    """Scenes whose captions hold, together, every word that captions can hold."""
    for background in BACKGROUNDS:
        for relation in ("left", "above"):
            yield Scene(background, (Group("cat", 1, "big"), Group("dog", 2, "small")), relation, 0)
    for name in kinds():
        yield Scene("grass", (Group(name, 3, "big"),), None, 0)
    yield Scene("grass", (Group("cat", 4, "big"),), None, 0)
